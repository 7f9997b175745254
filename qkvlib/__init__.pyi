# The public names of the course library, by module; lazy_loader reads this file at run time.
from .accounting import (
    DTYPES as DTYPES,
)
from .accounting import (
    CacheRow as CacheRow,
)
from .accounting import (
    CacheTable as CacheTable,
)
from .accounting import (
    bytes_per_token as bytes_per_token,
)
from .accounting import (
    cache_bytes as cache_bytes,
)
from .accounting import (
    cache_table as cache_table,
)
from .accounting import (
    count_parameters as count_parameters,
)
from .accounting import (
    format_bytes as format_bytes,
)
from .accounting import (
    parse_dtype as parse_dtype,
)
from .accounting import (
    projection_macs as projection_macs,
)
from .accounting import (
    saved as saved,
)
from .analysis import (
    asymmetry as asymmetry,
)
from .analysis import (
    self_attention_share as self_attention_share,
)
from .attention import (
    Attention as Attention,
)
from .attention import (
    AttentionMaps as AttentionMaps,
)
from .cache import (
    KVCache as KVCache,
)
from .cache import (
    LayerCache as LayerCache,
)
from .config import (
    CONFIGS as CONFIGS,
)
from .config import (
    PLUS_CHANNELS as PLUS_CHANNELS,
)
from .config import (
    ConfigError as ConfigError,
)
from .config import (
    ModelConfig as ModelConfig,
)
from .config import (
    get_config as get_config,
)
from .models import (
    GPT as GPT,
)
from .models import (
    Block as Block,
)
from .models import (
    Encoder as Encoder,
)
from .models import (
    Transformer as Transformer,
)
from .models import (
    build_model as build_model,
)
from .models import (
    token_loss as token_loss,
)
from .position import (
    PlusTerm as PlusTerm,
)
from .position import (
    PositionEmbedding as PositionEmbedding,
)
from .position import (
    sinusoid as sinusoid,
)
from .sharing import (
    ROLES as ROLES,
)
from .sharing import (
    SHARINGS as SHARINGS,
)
from .sharing import (
    Sharing as Sharing,
)
from .sharing import (
    UnknownNameError as UnknownNameError,
)
from .sharing import (
    Variant as Variant,
)
from .sharing import (
    parse_sharing as parse_sharing,
)
from .sharing import (
    parse_variant as parse_variant,
)
