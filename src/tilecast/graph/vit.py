"""The vision transformer of the locality study, as vit-pytorch builds it: heads are 64 wide in any model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Pre-normalised attention whose inner width is heads x head_dim."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output for (batch, tokens, width)."""
        batch, tokens, _ = x.shape
        query, key, value = (
            part.view(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.to_qkv(self.norm(x)).chunk(3, -1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.to_out(mixed.transpose(1, 2).reshape(batch, tokens, -1))


class VisionTransformer(nn.Module):
    """Images to class scores; `values` are those of a `tilecast_vit` configuration."""

    main_input_name = "pixel_values"

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.patch = values["hidden_size"], values["patch_size"]
        patch_width = 3 * self.patch**2
        self.to_patch = nn.Sequential(
            nn.LayerNorm(patch_width), nn.Linear(patch_width, width), nn.LayerNorm(width)
        )
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, (values["image_size"] // self.patch) ** 2 + 1, width))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    Attention(width, values["num_attention_heads"], values["head_dim"]),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, values["intermediate_size"]),
                        nn.GELU(),
                        nn.Linear(values["intermediate_size"], width),
                    ),
                )
            )
            for _ in range(values["num_hidden_layers"])
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, values["num_labels"])

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Class scores of (batch, 3, height, width) images."""
        batch, channels, height, width = pixel_values.shape
        rows, columns = height // self.patch, width // self.patch
        patches = pixel_values.view(batch, channels, rows, self.patch, columns, self.patch).permute(
            0, 2, 4, 3, 5, 1
        )
        tokens = self.to_patch(patches.reshape(batch, rows * columns, -1))
        x = torch.cat((self.cls_token.expand(batch, -1, -1), tokens), dim=1) + self.position
        for attention, feed_forward in self.layers:
            x = attention(x) + x
            x = feed_forward(x) + x
        return self.head(self.norm(x)[:, 0])
