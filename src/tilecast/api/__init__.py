"""Questions and their answers, one module each: what `import tilecast` and the command line both offer."""
