"""A transformer's dimensions, read once from its configuration: memory, messages and kernels follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tilecast.base.documents import listed
from tilecast.base.errors import InputError, Uncut
from tilecast.models.registry import ModelSpec

# Each dimension by the names that configurations of transformers give it; the first that is stated counts.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_decoder_layers", "n_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim", "d_kv"),
    "ffn": ("intermediate_size", "ffn_dim", "n_inner", "d_ff"),
    "expert_ffn": ("moe_intermediate_size",),
    "vocab": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "top_k": ("num_experts_per_tok",),
    "latent": ("kv_lora_rank",),
    "query_latent": ("q_lora_rank",),
    "turned": ("qk_rope_head_dim",),
    "plain": ("qk_nope_head_dim",),
    "value_dim": ("v_head_dim",),
    "shared_experts": ("n_shared_experts",),
    "wide_ffn": ("intermediate_size_mlp",),
    "shared_ffn": ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"),
    "window": ("sliding_window", "attention_chunk_size"),
    "state_heads": ("mamba_num_heads", "linear_num_value_heads"),
    "state_width": ("mamba_head_dim", "linear_value_head_dim"),
    "state_size": ("ssm_state_size", "linear_key_head_dim"),
    "state_groups": ("n_groups", "mamba_n_groups", "linear_num_key_heads"),
    "state_taps": ("conv_kernel", "linear_conv_kernel_dim"),
    "token_types": ("type_vocab_size",),
    "predicting": ("num_nextn_predict_layers",),
    "sparse_decoder": ("num_sparse_decoder_layers",),
    "sparse_encoder": ("num_sparse_encoder_layers",),
}
_GATED = (
    "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4",
    "glm4_moe", "gpt_oss", "granite", "kimi_k2", "llama", "llama4_text", "mistral", "mixtral", "olmo", "olmo2",
    "olmo3", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "smollm3", "stablelm",
)  # fmt: skip
_SINGLE = ("nemotron_h",)  # a layer is attention, a state space or a feed-forward layer of two matrices: one norm
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
    window: int = 0  # tokens that attention of windowed layers looks back; 0: all
    windowed: float = 0.5  # share of the attention layers with that window
    query_parts: int = 1  # 2 where queries come with a gate
    blocks: int = 2  # of a layer, each with a norm and a sum over tensor ranks
    attending: float = 1.0  # share of the layers with attention
    scanning: float = 0.0  # and with a state space or linear attention
    state_groups: int = 0  # of one of these: what its heads share, by which it is cut
    state_parameters: int = 0
    state_bytes: int = 0  # that it keeps of a sequence
    plain: float | None = None  # share of the layers with a feed-forward layer without experts; None: all others
    latent: int = 0  # width of the keys and values that latent attention keeps of a token; 0: each head's own
    latent_parameters: tuple[int, int] = (0, 0)  # of latent attention: every rank's own, those ranks share out
    query_latent: int = 0  # of latent attention: width that queries are narrowed to; 0: they are not
    plain_dim: int = 0  # of a head: its key's part without a position, the part with one, its value
    turned_dim: int = 0
    value_dim: int = 0
    dense_ffn: int = 0  # width of feed-forward layers in the layers without experts
    shared_ffn: int = 0  # of the experts that every token passes
    experts: int = 0  # of one layer
    top_k: int = 0  # experts a token takes
    expert_layers: int = 0  # layers with experts that one token passes
    stored_expert_layers: int = 0  # and that memory holds: an encoder's too
    expert_matrices: int = 3  # of one expert
    cached_layers: int = 0  # layers whose keys and values are kept
    predicting: int = (
        0  # layers that predict tokens beyond the next one, as servers draft with; of no forward pass
    )
    joins: bool = False  # a layer that predicts further tokens: two hidden states become one; no ends of its own
    extra: int = 0  # other parameters: BERT's token types, pooler and head

    @property
    def ffn_parameters(self) -> int:
        """Matrices of one feed-forward layer, or of one expert."""
        return self._matrices(self.ffn)

    @property
    def dense_parameters(self) -> int:
        """Matrices of the feed-forward layer of a layer without experts, where others have them."""
        return self._matrices(self.dense_ffn)

    @property
    def shared_parameters(self) -> int:
        """Matrices of the experts that every token passes."""
        return self._matrices(self.shared_ffn)

    @property
    def predictor(self) -> Architecture:
        """The layer that predicts further tokens, as a model of its own that shares the embedding and the head.

        It is one more layer like the last (DeepSeek-V3, arXiv 2412.19437, section 2.2), behind a product that
        joins the hidden state of a token and the embedding of the next.
        """
        one = 1 if self.experts else 0
        return replace(
            self, layers=1, expert_layers=one, stored_expert_layers=one, cached_layers=1, predicting=0, joins=True
        )

    def _matrices(self, width: int) -> int:
        return self.hidden * width * (3 if self.gated else 2)


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
        raise Uncut(spec.source, "does not describe a transformer", f"it needs {', '.join(names)}")
    switch, gated, experts = kind == _SWITCH, kind in _GATED, size("experts")
    kinds = layer_kinds(spec)
    sparse = size("sparse_decoder") if switch else sum(one.experts for one in kinds)
    vocab, kv_heads = size("vocab"), size("kv_heads", heads)
    if kind == "falcon":  # by its class: one for all queries unless the newer layer is asked for
        newer, one = values.get("new_decoder_architecture"), values.get("multi_query", True)
        kv_heads = values.get("num_kv_heads") or heads if newer else 1 if one else heads
    if kind == "gpt_bigcode" and values.get("multi_query", True):
        kv_heads = 1
    down, up, latent, rotated = 0, 0, size("latent"), size("turned")
    if latent:
        query, value = size("plain") + rotated, size("value_dim")
        down = hidden * (latent + rotated) + latent + (size("query_latent") * (hidden + 1))
        up = heads * (query * (size("query_latent") or hidden) + latent * (size("plain") + value) + value * hidden)
        latent += rotated
    attending = [one.attention for one in kinds if one.attention in ATTENDS]
    windowed = sum(name != "full_attention" for name in attending)
    scanning = sum(one.attention == SCANS for one in kinds)
    single = kind in _SINGLE
    shared = size("shared_ffn") or size("shared_experts") * size("expert_ffn")
    if kind == "llama4_text":
        shared = size("ffn")
    return Architecture(
        name=spec.name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=size("head_dim", hidden // heads),
        ffn=(size("expert_ffn") if experts else 0) or size("ffn", 4 * hidden),
        vocab=vocab,
        positions=0 if gated or switch or single else size("positions") + 2 * (kind == "opt"),
        gated=gated,
        biases=not gated and not switch and not single,
        tied=bool(not gated and not single if (tied := values.get("tie_word_embeddings")) is None else tied),
        dropout=not gated and any(values.get(key) for key in ("resid_pdrop", "hidden_dropout_prob", "dropout")),
        window=size("window") if windowed else 0,
        windowed=windowed / len(attending) if windowed else 0.5,
        query_parts=2 if kind == "qwen3_next" else 1,
        blocks=1 if single else 2,
        attending=len(attending) / layers,
        scanning=scanning / layers,
        **_state(size, hidden, "linear_num_value_heads" in values) if scanning else {},
        plain=sum(one.attention == "mlp" for one in kinds) / layers if single else None,
        dense_ffn=(size("wide_ffn") if kind == "llama4_text" else 0) or size("ffn", 4 * hidden),
        shared_ffn=shared if experts else 0,
        experts=experts,
        top_k=(1 if switch else size("top_k")) if experts else 0,
        expert_layers=sparse if experts else 0,
        stored_expert_layers=sparse + size("sparse_encoder") if experts else 0,
        expert_matrices=2 if switch or single else 3,
        latent=latent,
        latent_parameters=(down, up),
        query_latent=size("query_latent"),
        plain_dim=size("plain"),
        turned_dim=rotated,
        value_dim=size("value_dim"),
        predicting=size("predicting"),
        cached_layers=2 * layers if switch else layers,  # of Switch: attention to itself and to the encoder
        extra=(size("token_types", 2) + 6 + 2 * hidden) * hidden + vocab if kind == "bert" else 0,
    )


def _state(size: Callable[[str], int], hidden: int, delta: bool) -> dict[str, Any]:
    """Groups, parameters and bytes kept of a sequence of one state space (Mamba-2) or gated delta rule."""
    heads, width, length, groups = (size(f"state_{name}") for name in ("heads", "width", "size", "groups"))
    inner, shared = heads * width, 2 * groups * length
    channels = inner + shared
    # a delta rule's gates come from a matrix of their own, its norm is a head's
    vectors = 2 * heads * (1 + hidden) + width if delta else heads * (3 + hidden) + inner + channels
    matrices = hidden * (inner + channels) + inner * hidden + channels * size("state_taps")
    kept = 4 * heads * width * length + 2 * channels * size("state_taps")  # in fp32, and in half precision
    return {"state_groups": groups, "state_parameters": matrices + vectors, "state_bytes": kept}


def equal_layers(spec: ModelSpec) -> Architecture:
    """The dimensions of a transformer of one kind of layer, or of kinds that are told apart; else InputError."""
    found = architecture(spec)
    remedy = "multi-GPU forecasts need a decoder or encoder of equal transformer layers"
    if _two_stacks(spec) or not found.vocab:
        raise Uncut(spec.source, "is no stack of equal layers", remedy)
    wide = spec.values.get("global_head_dim", 512 if spec.values["model_type"] == "gemma4_text" else None)
    if wide not in (None, found.head_dim):
        problem = f"has heads of {wide} in layers without a window, of {found.head_dim} elsewhere"
        raise Uncut(spec.source, problem, "forecast it on one GPU (--device)")
    known = {*ATTENDS, *((SCANS,) if found.state_bytes else ()), *(FEEDS if found.blocks == 1 else ())}
    if unknown := {kind.attention for kind in layer_kinds(spec)} - known:
        problem = f"has layers of kind {sorted(unknown)[0]}, which are not cut over GPUs"
        raise Uncut(spec.source, problem, "forecast it on one GPU (--device)")
    return found


def stacked(spec: ModelSpec) -> bool:
    """Whether the model is a decoder or an encoder alone: others have no attention in one kernel."""
    try:
        return bool(architecture(spec).vocab) and not _two_stacks(spec)
    except InputError:
        return False


def _two_stacks(spec: ModelSpec) -> bool:
    return bool(spec.values.get("is_encoder_decoder")) or spec.values["model_type"] == _SWITCH


ATTENDS = ("full_attention", "sliding_attention", "chunked_attention")
SCANS = "linear_attention"  # a state space or linear attention
FEEDS = ("mlp", "moe")  # layers that are a feed-forward layer alone
# Kinds of layers where no list says them: all but every n-th, by the key that says n and its default.
_PERIODS = {
    "gemma2": ("sliding_attention", "", 2), "gpt_oss": ("sliding_attention", "", 2),
    "gemma3_text": ("sliding_attention", "sliding_window_pattern", 6),
    "cohere2": ("sliding_attention", "sliding_window_pattern", 4),
    "llama4_text": ("chunked_attention", "no_rope_layer_interval", 4),
    "qwen3_next": (SCANS, "full_attention_interval", 4),
}  # fmt: skip
_PATTERN = {"M": SCANS, "*": "full_attention", "-": "mlp", "E": "moe"}  # letters of `hybrid_override_pattern`
_LEGACY = {"mamba": SCANS, "attention": "full_attention"}


def _listed_kinds(spec: ModelSpec, count: int) -> list[str]:
    """The kind of each layer's mixer, as a list, a pattern or a period says it."""
    values, kind = spec.values, str(spec.values["model_type"])
    name = "layers_block_type" if "layers_block_type" in values else "layer_types"
    found = listed(values.get(name), name, spec.source)
    pattern = values.get("hybrid_override_pattern")
    if not found and isinstance(pattern, str):
        found = [_PATTERN.get(letter, letter) for letter in pattern]
    if not found and kind in _PERIODS:
        most, key, period = _PERIODS[kind]
        period = values.get(key) or period
        if type(period) is not int:
            raise InputError(spec.source, f"`{key}` is not a whole number", "check its values")
        found = [most if (place + 1) % period else "full_attention" for place in range(count)]
    found = found or ["full_attention"] * count
    if len(found) < count or not all(isinstance(name, str) for name in found):
        raise InputError(spec.source, "`layer_types` has not one kind for each layer", "check its values")
    return [_LEGACY.get(name, name) if kind in _SINGLE else name for name in found]


class LayerKind(NamedTuple):
    """What may differ from layer to layer."""

    attention: str
    experts: bool


def layer_kinds(spec: ModelSpec) -> list[LayerKind]:
    """The kind of each layer, in order, from every key that configurations say it by."""
    values = spec.values
    count = next((values[name] for name in NAMES["layers"] if values.get(name)), 0)
    attention = _listed_kinds(spec, count)
    routed = any(values.get(name) for name in NAMES["experts"])
    dense = set(listed(values.get("mlp_only_layers"), "mlp_only_layers", spec.source))
    step, first = (values.get(name) or least for name, least in (("decoder_sparse_step", 1), (_FIRST_DENSE, 0)))
    pace = values.get("interleave_moe_layer_step") or 1
    if not all(type(number) is int for number in (step, first, pace)):
        raise InputError(spec.source, "a step or count of its layers is no whole number", "check its values")
    moe = values.get("moe_layers")
    types = values.get("mlp_layer_types")
    found = []
    for place in range(count):
        has = place not in dense and (place + 1) % step == 0 and place >= first and (place + 1) % pace == 0
        has = place in moe if isinstance(moe, list) else has
        has = types[place] == "sparse" if isinstance(types, list) and len(types) == count else has
        has = attention[place] == "moe" if values["model_type"] in _SINGLE else has
        found.append(LayerKind(attention[place], bool(routed and has)))
    return found


def of_kind(spec: ModelSpec, kind: LayerKind) -> ModelSpec:
    """The model with every layer of one kind."""
    values, count = dict(spec.values), len(layer_kinds(spec))
    if values["model_type"] in _SINGLE:
        values.pop("hybrid_override_pattern", None)
        values["layers_block_type"] = [kind.attention] * count
    elif "layer_types" in values or values["model_type"] in _PERIODS:
        values["layer_types"] = [kind.attention] * count
    if values["model_type"] == "llama4_text":
        values["no_rope_layers"] = [int(kind.attention != "full_attention")] * count
    if "mlp_layer_types" in values:
        values["mlp_layer_types"] = ["sparse" if kind.experts else "dense"] * count
    if _FIRST_DENSE in values:
        values[_FIRST_DENSE] = 0 if kind.experts else count
    if "interleave_moe_layer_step" in values or "moe_layers" in values:
        values["moe_layers"] = list(range(count)) if kind.experts else []
    if "decoder_sparse_step" in values or "mlp_only_layers" in values:
        values |= {"decoder_sparse_step": 1, "mlp_only_layers": [] if kind.experts else list(range(count))}
    return replace(spec, values=values)


_FIRST_DENSE = "first_k_dense_replace"
