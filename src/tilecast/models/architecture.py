"""A transformer's dimensions, read once from its configuration: memory, messages and kernels follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from tilecast.base.documents import listed
from tilecast.base.errors import InputError
from tilecast.models.registry import ModelSpec

# Each dimension by the names that configurations of transformers give it; the first that is stated counts.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_decoder_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim", "d_kv"),
    "ffn": ("intermediate_size", "ffn_dim", "n_inner", "d_ff"),
    "expert_ffn": ("moe_intermediate_size",),
    "vocab": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "top_k": ("num_experts_per_tok",),
    "window": ("sliding_window",),
    "token_types": ("type_vocab_size",),
    "sparse_decoder": ("num_sparse_decoder_layers",),
    "sparse_encoder": ("num_sparse_encoder_layers",),
}
_GATED = (
    "cohere", "cohere2", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt_oss", "granite",
    "llama", "mistral", "mixtral", "olmo", "olmo2", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3",
    "stablelm",
)  # fmt: skip
_SWITCH = "switch_transformers"  # an encoder and a decoder, experts of two matrices, one expert a token


@dataclass(frozen=True)
class Architecture:
    """The dimensions of a transformer; where there is an encoder too, of its decoder."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # width of the feed-forward layer, of one expert where there are experts
    vocab: int
    positions: int = 0  # learned position embeddings; 0 where positions are computed
    gated: bool = True  # feed-forward of three matrices rather than two
    biases: bool = False  # linear layers with biases, norms with them
    tied: bool = False  # the head uses the embedding's matrix
    dropout: bool = False
    window: int = 0  # tokens that attention of every other layer looks back; 0: all
    experts: int = 0  # of one layer
    top_k: int = 0  # experts a token takes
    expert_layers: int = 0  # layers with experts that one token passes
    stored_expert_layers: int = 0  # and that memory holds: an encoder's too
    expert_matrices: int = 3  # of one expert
    mixed: bool = False  # layers with and without experts in a pattern that is not counted here
    cached_layers: int = 0  # layers whose keys and values are kept
    extra: int = 0  # other parameters: BERT's token types, pooler and head

    @property
    def ffn_parameters(self) -> int:
        """Matrices of one feed-forward layer, or of one expert."""
        return self.hidden * self.ffn * (3 if self.gated else 2)


def architecture(spec: ModelSpec) -> Architecture:
    """The dimensions that a configuration states; InputError where it describes no transformer."""
    values, kind = spec.values, str(spec.values["model_type"])
    for name in (name for names in NAMES.values() for name in names):
        if (value := values.get(name)) is not None and (type(value) is not int or value < 0):
            raise InputError(spec.source, f"`{name}` is not a whole number from 0 up", "check its values")

    def size(dimension: str, default: int = 0) -> int:
        return next((values[name] for name in NAMES[dimension] if values.get(name)), default)

    layers, hidden, heads = (size(dimension) for dimension in ("layers", "hidden", "heads"))
    if not (layers and hidden and heads):
        names = (f"`{NAMES[dimension][0]}`" for dimension in ("layers", "hidden", "heads"))
        raise InputError(spec.source, "does not describe a transformer", f"it needs {', '.join(names)}")
    switch, gated, experts = kind == _SWITCH, kind in _GATED, size("experts")
    dense = len(listed(values.get("mlp_only_layers"), "mlp_only_layers", spec.source))
    sparse = size("sparse_decoder") if switch else layers - dense
    mixed = values.get("decoder_sparse_step") not in (None, 1) or bool(values.get("first_k_dense_replace"))
    vocab, kv_heads = size("vocab"), size("kv_heads", heads)
    if kind == "falcon":  # by its class: one for all queries unless the newer layer is asked for
        newer, one = values.get("new_decoder_architecture"), values.get("multi_query", True)
        kv_heads = values.get("num_kv_heads") or heads if newer else 1 if one else heads
    if kind == "gpt_bigcode" and values.get("multi_query", True):
        kv_heads = 1
    return Architecture(
        name=spec.name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=size("head_dim", hidden // heads),
        ffn=(size("expert_ffn") if experts else 0) or size("ffn", 4 * hidden),
        vocab=vocab,
        positions=0 if gated or switch else size("positions") + 2 * (kind == "opt"),
        gated=gated,
        biases=not gated and not switch,
        tied=bool(not gated if (tied := values.get("tie_word_embeddings")) is None else tied),
        dropout=not gated and any(values.get(key) for key in ("resid_pdrop", "hidden_dropout_prob", "dropout")),
        window=size("window") if "layer_types" in values else 0,
        experts=experts,
        top_k=(1 if switch else size("top_k")) if experts else 0,
        expert_layers=sparse if experts else 0,
        stored_expert_layers=sparse + size("sparse_encoder") if experts else 0,
        expert_matrices=2 if switch else 3,
        mixed=mixed and not switch,
        cached_layers=2 * layers if switch else layers,  # of Switch: attention to itself and to the encoder
        extra=(size("token_types", 2) + 6 + 2 * hidden) * hidden + vocab if kind == "bert" else 0,
    )


def equal_layers(spec: ModelSpec) -> Architecture:
    """The dimensions of a transformer whose layers are all alike; InputError for any other model."""
    found = architecture(spec)
    remedy = "multi-GPU forecasts need a decoder or encoder of equal transformer layers"
    if spec.values.get("is_encoder_decoder") or spec.values["model_type"] == _SWITCH or not found.vocab:
        raise InputError(spec.source, "is no stack of equal layers", remedy)
    if found.mixed or (found.experts and found.expert_layers < found.layers):
        raise InputError(spec.source, "mixes dense layers with experts", remedy)
    return found
