"""What a model is, in one frozen dataclass that refuses what cannot work.

Every check lives here, so that the modules below may trust what they are given. An error names the
field, the value, what is allowed, and the way out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, get_args

from qkvlib.sharing import (
    SHARINGS,
    Sharing,
    Variant,
    look_up,
    parse_sharing,
    parse_variant,
    unknown_name,
)

Position = Literal["learned", "sinusoidal", "sinusoidal_2d", "rope", "none"]

RopeScheme = Literal["rotate_on_read", "relative_values", "two_tensors"]

ROPE_SCHEMES: Final[Mapping[RopeScheme, str]] = MappingProxyType(
    {
        "rotate_on_read": "keys are kept as projected and turned each time they are read",
        "relative_values": "values are turned like keys, and the output is turned back",
        "two_tensors": "turned keys and plain values are both kept, and nothing is saved",
    }
)
"""How keys that turn with their position can be values as well -> what that means.

:meta hide-value:
"""

PlusPosition = Literal["index", "grid", "none"]

Pool = Literal["mean", "class"]

TURNED: Final = "k_turned"
"""Name of the cache's tensor for the turned part of keys whose plain form is kept as well."""

PLUS_CHANNELS: Final = 10
"""m of (X)+ in the paper (section 3.3): half of the channels code i, half code j."""


class ConfigError(ValueError):
    """A configuration that cannot work; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """A stack of blocks, and how its attention shares projections and heads.

    What goes in and what comes out stands in the classes made from this one: :class:`ModelConfig`
    for tokens, :class:`ViTConfig` for images, :class:`SetConfig` for sets.

    Attributes:
        d_model: Width of the residual stream.
        n_layers: Number of blocks.
        n_heads: Query heads (H); must divide ``d_model``, unless ``head_dim`` is given.
        n_kv_heads: KV heads (G); must divide ``n_heads``. ``None`` means ``n_heads`` (MHA).
            1 is MQA, anything between is GQA.
        sharing: Which projections are tied; a :class:`~qkvlib.sharing.Sharing` or any spelling
            that :func:`~qkvlib.sharing.parse_sharing` reads.
        d_ff: Width of the MLP's hidden layer. ``None`` means ``4 * d_model``.
        head_dim: Width of one head (D). ``None`` means ``d_model / n_heads``.
        causal: Whether position i may look only at positions ≤ i (GPT) or at all (encoder).
        plus_channels: Channels m of the (X)+ term; 0 switches it off, 10 is the paper's value.
        plus_position: What (X)+ is told of positions i and j: ``"index"``, their places in the
            sequence; ``"grid"``, the (row, col) of their patches; ``"none"``, nothing, which
            leaves of (X)+ a learned factor on the scores: the control that tells the two apart.
        bias: Whether linear layers carry biases.
        out_proj: Whether the heads' outputs pass a projection of their own (W_O). Without it they
            are added to the residual stream as they are, so together they must be as wide.
        dropout: Probability of dropping an activation while training, in [0, 1).

    Raises:
        ConfigError: If the combination cannot work. The message names the field, the value and
            the ways out.
    """

    kind: ClassVar[str]
    """What :meth:`to_dict` calls the class."""

    d_model: int
    n_layers: int
    n_heads: int
    sharing: Sharing = SHARINGS["QKV"]
    n_kv_heads: int = None  # type: ignore[assignment]  # __post_init__ fills it in
    d_ff: int = None  # type: ignore[assignment]
    head_dim: int = None  # type: ignore[assignment]
    causal: bool = True
    plus_channels: int = 0
    plus_position: PlusPosition = "index"
    bias: bool = True
    out_proj: bool = True
    dropout: float = 0.0

    _counts: ClassVar[tuple[str, ...]] = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff")
    _positions: ClassVar[tuple[Position, ...]] = ("learned", "sinusoidal", "none")
    _plus_positions: ClassVar[tuple[PlusPosition, ...]] = ("index", "none")

    def __post_init__(self) -> None:
        # Frozen dataclasses set normalised values this way; after this the object never changes.
        put = object.__setattr__
        put(self, "sharing", parse_sharing(self.sharing))
        if self.n_kv_heads is None:
            put(self, "n_kv_heads", self.n_heads)
        if self.d_ff is None:
            put(self, "d_ff", 4 * self.d_model)

        for name in self._counts:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name}={value!r}: expected a whole number of at least 1.")
        self._settle_head_dim()
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(
                f"n_kv_heads={self.n_kv_heads} does not divide n_heads={self.n_heads}: each KV "
                f"head must serve the same number of query heads. Choose n_kv_heads from "
                f"{_divisors(self.n_heads)}."
            )
        if self.sharing.ties_query and self.n_kv_heads != self.n_heads:
            raise ConfigError(
                f"sharing={self.sharing.name} {self.sharing.tuple_form} uses one projection for "
                f"queries and keys, so it needs as many KV heads as query heads, but "
                f"n_kv_heads={self.n_kv_heads} and n_heads={self.n_heads}. Two ways out: set "
                f"n_kv_heads={self.n_heads}, or untie the query: sharing='QKV' or 'Q-K=V'."
            )
        self._check_positions()
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout={self.dropout!r}: expected a probability in [0, 1).")

    def _settle_head_dim(self) -> None:
        if self.head_dim is None:
            if self.d_model % self.n_heads:
                raise ConfigError(
                    f"d_model={self.d_model} does not divide into n_heads={self.n_heads} heads. "
                    f"Choose n_heads from {_divisors(self.d_model)}, or a d_model that is a "
                    f"multiple of {self.n_heads}, or give the head_dim yourself."
                )
            object.__setattr__(self, "head_dim", self.d_model // self.n_heads)
        width = self.head_dim
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise ConfigError(f"head_dim={width!r}: expected a whole number of at least 1.")
        if not self.out_proj and self.n_heads * width != self.d_model:
            raise ConfigError(
                f"out_proj=False adds the heads to the residual stream as they are, but n_heads="
                f"{self.n_heads} times head_dim={width} is {self.n_heads * width}, not d_model="
                f"{self.d_model}. Leave head_dim out, or set out_proj=True."
            )

    def _check_positions(self) -> None:
        if self.position not in self._positions:
            raise unknown_name("position", self.position, self._positions)
        if self.plus_position not in self._plus_positions:
            raise unknown_name("plus_position", self.plus_position, self._plus_positions)
        channels = self.plus_channels
        if not isinstance(channels, int) or channels < 0 or channels % 2:
            raise ConfigError(
                f"plus_channels={channels!r}: expected an even whole number, 0 for none, since "
                f"half of the channels code i and half code j (the paper uses {PLUS_CHANNELS})."
            )
        if channels and self.causal:
            raise ConfigError(
                f"plus_channels={channels} with causal=True: (X)+ is defined for models "
                "that see the whole sequence. Two ways out: set causal=False, or plus_channels=0."
            )

    @property
    def rotary_dim(self) -> int:
        """Columns of each head that turn with the position; 0 without rotary positions."""
        return 0

    @property
    def cached(self) -> Mapping[str, int]:
        """What a cache keeps of each token, layer and KV head: name of the tensor -> columns."""
        return dict.fromkeys(self.sharing.cached, self.head_dim)

    def _defaults_from_shape(self) -> dict[str, int]:
        """What the fields that may be ``None`` become when they are."""
        defaults = {"n_kv_heads": self.n_heads, "d_ff": 4 * self.d_model}
        width, rest = divmod(self.d_model, self.n_heads)
        return defaults if rest else defaults | {"head_dim": width}

    @property
    def variant(self) -> Variant:
        """Sharing, head sharing and (X)+ together, as the paper names them."""
        n_kv_heads = None if self.n_kv_heads == self.n_heads else self.n_kv_heads
        return Variant(self.sharing, n_kv_heads, bool(self.plus_channels))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one.

        ``n_kv_heads``, ``d_ff`` and ``head_dim`` follow the new shape as long as they have the
        values that it gives them by itself: MHA stays MHA when ``n_heads`` changes.

        Args:
            **changes: Fields and their new values. ``variant=`` takes a variant or its name and
                sets ``sharing``, ``n_kv_heads`` and ``plus_channels`` together.

        Raises:
            ConfigError: If the result cannot work, or a field does not exist.
        """
        variant = changes.pop("variant", None)
        if variant is not None:
            changes |= _variant_fields(variant, changes.get("n_heads", self.n_heads))
        self._refuse_unknown(changes)
        for name, default in self._defaults_from_shape().items():
            if getattr(self, name) == default:
                changes.setdefault(name, None)  # it goes on following the shape
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them, the sharing by its name, and the kind."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {"sharing": self.sharing.name, "kind": self.kind}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a configuration from :meth:`to_dict`; fields left out have their defaults.

        Raises:
            ConfigError: If a field is missing or unknown, or it is a configuration of another kind.
        """
        fields = dict(data)
        kind = fields.pop("kind", cls.kind)
        if kind != cls.kind:
            raise ConfigError(
                f"a configuration of kind {kind!r} is not a {cls.__name__}, whose kind is "
                f"{cls.kind!r}. config_from_dict picks the class."
            )
        cls._refuse_unknown(fields)
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigError(f"{cls.__name__} cannot be rebuilt: {error}") from None

    @classmethod
    def _refuse_unknown(cls, given: Mapping[str, Any]) -> None:
        names = [f.name for f in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                raise unknown_name(f"field of {cls.__name__}", name, names)

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches; ``None`` where positions are not those of an image."""
        return None

    if TYPE_CHECKING:
        # Every kind has these, as a field or because they follow from other fields.
        @property
        def max_seq_len(self) -> int: ...
        @property
        def position(self) -> Position: ...


@dataclass(frozen=True, kw_only=True)
class ModelConfig(StackConfig):
    """A transformer on tokens: :class:`~qkvlib.models.GPT`, :class:`~qkvlib.models.Encoder`.

    Attributes:
        vocab_size: Number of tokens.
        max_seq_len: Longest sequence, in tokens; also the cache's default capacity.
        position: How positions enter: ``"learned"`` or ``"sinusoidal"`` vectors added to the
            token embeddings; ``"rope"``, queries and keys that turn with their position (Su et
            al., 2021); or ``"none"``.
        rope_scheme: With ``"rope"``, what becomes of keys in the cache, and of values; a key of
            :data:`ROPE_SCHEMES`. ``None`` keeps keys turned and values plain, which a sharing that
            ties keys and values cannot have: it must choose.
        rope_fraction: With ``"rope"``, share of each head's columns that turn, the first ones.
        rope_base: With ``"rope"``, ratio between the longest and the shortest wavelength.
        tie_embeddings: Whether the output layer reuses the token embedding.

    The other fields, and what is refused, are those of :class:`StackConfig`.
    """

    kind = "tokens"

    vocab_size: int
    max_seq_len: int
    position: Position = "learned"
    rope_scheme: RopeScheme | None = None
    rope_fraction: float = 1.0
    rope_base: float = 10_000.0
    tie_embeddings: bool = True

    _counts = (*StackConfig._counts, "vocab_size", "max_seq_len")
    _positions = (*StackConfig._positions, "rope")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rope()

    def _check_rope(self) -> None:
        scheme = self.rope_scheme
        if scheme is not None and scheme not in ROPE_SCHEMES:
            raise unknown_name("rope_scheme", scheme, ROPE_SCHEMES)
        if self.position != "rope":
            for name, default in (
                ("rope_scheme", None),
                ("rope_fraction", 1.0),
                ("rope_base", 10_000.0),
            ):
                if (value := getattr(self, name)) != default:
                    raise ConfigError(
                        f"{name}={value!r} with position={self.position!r}: there is nothing to "
                        f"turn. Set position='rope', or leave {name} out."
                    )
            return
        if not 0 < self.rope_fraction <= 1:
            raise ConfigError(
                f"rope_fraction={self.rope_fraction!r}: expected a share above 0, at most 1."
            )
        if not 1 < self.rope_base < float("inf"):
            raise ConfigError(f"rope_base={self.rope_base!r}: expected a number above 1.")
        columns = round(self.rope_fraction * self.head_dim, 6)  # 0.14 of 100 is 14.000000000000002
        if columns != int(columns) or columns % 2:
            raise ConfigError(
                f"rope_fraction={self.rope_fraction:g} of head_dim={self.head_dim} is "
                f"{columns:g} columns: columns turn in pairs, so it takes an even whole number of "
                "them. Change rope_fraction, or head_dim."
            )
        if scheme is None and self.sharing.roles["k"] == self.sharing.roles["v"]:
            ways = "; ".join(f"rope_scheme={name!r}, {what}" for name, what in ROPE_SCHEMES.items())
            raise ConfigError(
                f"sharing={self.sharing.name} {self.sharing.tuple_form} with position='rope': keys "
                "that were turned by their position are not values, since a value must mean the "
                f"same wherever it stands. Ways out: {ways}."
            )

    @property
    def rotary_dim(self) -> int:
        """Columns of each head that turn with the position; 0 without rotary positions."""
        return round(self.rope_fraction * self.head_dim) if self.position == "rope" else 0

    @property
    def cached(self) -> Mapping[str, int]:
        """What a cache keeps of each token, layer and KV head: name of the tensor -> columns.

        With keys kept both turned and plain, the columns that do not turn are kept once.
        """
        kept = dict(super().cached)
        if self.rope_scheme == "two_tensors" and len(kept) == 1:
            kept[TURNED] = self.rotary_dim
        return kept


@dataclass(frozen=True, kw_only=True)
class ViTConfig(StackConfig):
    """A transformer on the patches of an image: :class:`~qkvlib.models.ViT`.

    Attributes:
        image_size: Side of the square image, in pixels.
        patch_size: Side of a patch, in pixels; must divide ``image_size``.
        n_channels: 1 for grey, 3 for colour.
        n_classes: Number of answers.
        pool: What the answer is read from: the ``"mean"`` of all patches, or a ``"class"`` token
            that stands before them.
        position: How the places of patches enter: ``"learned"`` vectors; ``"sinusoidal"`` of the
            patch's number in reading order; ``"sinusoidal_2d"``, half of the columns code the row
            and half the column; or ``"none"``.

    The other fields, and what is refused, are those of :class:`StackConfig`; an image is seen
    whole, so ``causal`` is ``False``.
    """

    kind = "image"

    image_size: int
    patch_size: int
    n_channels: int
    n_classes: int
    pool: Pool = "mean"
    position: Position = "learned"
    causal: bool = False
    plus_position: PlusPosition = "grid"

    _counts = (*StackConfig._counts, "image_size", "patch_size", "n_channels", "n_classes")
    _positions = (*StackConfig._positions, "sinusoidal_2d")
    _plus_positions = get_args(PlusPosition)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_causal(self, "an image is seen whole")
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"patch_size={self.patch_size} does not divide image_size={self.image_size}. "
                f"Choose patch_size from {_divisors(self.image_size)}, or resize the images."
            )
        if self.pool not in get_args(Pool):
            raise unknown_name("pool", self.pool, get_args(Pool))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        side = self.image_size // self.patch_size
        return side, side

    @property
    def n_patches(self) -> int:
        """Patches of an image."""
        rows, columns = self.grid
        return rows * columns

    @property
    def max_seq_len(self) -> int:
        """Positions that attention runs over: the patches, and a class token if there is one."""
        return self.n_patches + (self.pool == "class")


@dataclass(frozen=True, kw_only=True)
class SetConfig(StackConfig):
    """A transformer on sets, which have no order: :class:`~qkvlib.models.SetEncoder`.

    Attributes:
        n_features: Numbers that describe an element.
        max_seq_len: Elements of the largest set.

    The other fields, and what is refused, are those of :class:`StackConfig`; a set is seen whole,
    so ``causal`` is ``False``.
    """

    kind = "set"

    n_features: int
    max_seq_len: int
    causal: bool = False

    _counts = (*StackConfig._counts, "n_features", "max_seq_len")

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_causal(self, "a set has no order")

    @property
    def position(self) -> Position:
        """Always ``"none"``: with positions it would be a sequence."""
        return "none"


def _refuse_causal(config: StackConfig, why: str) -> None:
    if config.causal:
        raise ConfigError(
            f"causal=True in a {type(config).__name__}: {why}, so nothing comes earlier than "
            "anything else. Leave causal=False."
        )


_KINDS: Final[Mapping[str, type[StackConfig]]] = MappingProxyType(
    {cls.kind: cls for cls in (ModelConfig, ViTConfig, SetConfig)}
)


def config_from_dict(data: Mapping[str, Any]) -> StackConfig:
    """Rebuild a configuration of any kind from its ``to_dict``.

    Args:
        data: The fields, and ``kind``; without it, as in records of version 0.1, tokens are meant.

    Raises:
        ConfigError: If the kind, or a field, is unknown or missing.
    """
    kind = data.get("kind", ModelConfig.kind)
    return look_up("kind of configuration", kind, _KINDS).from_dict(data)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _variant_fields(variant: Variant | str, n_heads: int) -> dict[str, Any]:
    parsed = parse_variant(variant) if isinstance(variant, str) else variant
    return {
        "sharing": parsed.sharing,
        "n_kv_heads": parsed.n_kv_heads or n_heads,
        "plus_channels": PLUS_CHANNELS if parsed.plus else 0,
    }


CONFIGS: Final[Mapping[str, ModelConfig]] = MappingProxyType(
    {
        # The lessons' GPT: four of them train in a lesson on two cores.
        "small": ModelConfig(d_model=96, n_layers=3, n_heads=4, vocab_size=256, max_seq_len=128),
        # Kayyam et al. (2026), section 4.3: GPT-style, learned positions, tied embeddings.
        "300M": ModelConfig(
            d_model=1024, n_layers=20, n_heads=16, d_ff=4096, vocab_size=50304, max_seq_len=2048
        ),
        "1.2B": ModelConfig(
            d_model=2048, n_layers=22, n_heads=32, d_ff=8192, vocab_size=50304, max_seq_len=2048
        ),
    }
)
"""Named configurations, all with sharing QKV and MHA; change them with ``.replace(...)``."""


def get_config(name: str) -> ModelConfig:
    """Look a configuration up by name.

    Args:
        name: A key of :data:`CONFIGS`, in any case.

    Raises:
        ValueError: If there is none of that name; the message offers the nearest.
    """
    by_folded = {key.lower(): config for key, config in CONFIGS.items()}
    found = by_folded.get(name.lower())
    if found is None:
        raise unknown_name("configuration", name, CONFIGS)
    return found
