"""Input files as pydantic models: a mistake becomes one line that names the file, the entry and the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from tilecast.base.documents import shown
from tilecast.base.errors import InputError


class Section(BaseModel):
    """A mapping of a file: unknown keys are refused, types are not converted, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str | Decimal) else value
    except ValueError:
        return value


def _exact(value: Any) -> Any:
    try:
        return value if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        return value


Number = Annotated[  # also `1.5e9`, which YAML reads as text
    float, BeforeValidator(_number), Field(allow_inf_nan=False)
]
Positive = Annotated[Number, Field(gt=0)]
Exact = Annotated[Decimal, BeforeValidator(_exact), Field(allow_inf_nan=False)]  # the digits that a file holds
Count = Annotated[int, Field(ge=1, le=10**12)]
AsTuple = Field(strict=False)  # of a tuple: a file holds a list
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
Model = TypeVar("Model")  # a pydantic model or dataclass


def within(least: float, most: float, unit: str) -> AfterValidator:
    """Refuse a number outside `least` to `most`; the message names both and their unit."""

    def check(value: float) -> float:
        if not least <= value <= most:
            raise ValueError(f"expected {least:g} to {most:g} {unit}")
        return value

    return AfterValidator(check)


def validated(model: type[Model], raw: Any, where: object, keys: str = "") -> Model:
    """`raw` as `model`, or an InputError at `where`; `keys` says where an unknown or missing key is explained."""
    try:
        return TypeAdapter(model).validate_python(raw)
    except ValidationError as error:
        found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] in _UNKNOWN), found[0])
    kind, path, given = first["type"], first["loc"], first["input"]
    place, key = _place(raw, path[:-1] if kind == "missing" else path, str(where))
    keys = keys or (f"it has {', '.join(getattr(model, '__pydantic_fields__', ()))}" if len(path) < 2 else "")
    if kind in _UNKNOWN:
        raise InputError(place, f"unknown key `{key}`", keys)
    if kind == "missing":
        raise InputError(place, f"`{'.'.join(filter(None, (key, str(path[-1]))))}` is missing", keys)
    if kind in ("model_type", "dataclass_type"):
        raise InputError(place, f"`{key}` = {shown(given)} is not a mapping" if key else "is not a mapping", keys)
    quoted = "" if isinstance(given, Mapping | BaseModel) else f" = {shown(given)}"
    raise InputError(place, (f"`{key}`{quoted}: " if key else "") + first["msg"].removeprefix("Value error, "))


def _place(raw: Any, path: Sequence[str | int], where: str) -> tuple[str, str]:
    """The entry at fault in words, and the key within it; parts that pydantic adds to name a type are left out."""
    keys: list[str] = []
    for part in path:
        if isinstance(raw, Mapping):
            if part in raw:
                raw = raw[part]
                keys.append(str(part))
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
            if isinstance(raw, Mapping) and keys:
                name = next((raw[key] for key in ("id", "name") if isinstance(raw.get(key), str)), part + 1)
                where, keys = f"{where}, {'.'.join(keys).removesuffix('s')} {name}", []
            else:
                keys.append(str(part))
    return where, ".".join(keys)
