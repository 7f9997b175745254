# The public names of the course library, by module; lazy_loader reads this file at run time.
from . import (
    check as check,
    journal as journal,
    paper as paper,
    plots as plots,
)
from .accounting import (
    DTYPES as DTYPES,
    CacheRow as CacheRow,
    CacheTable as CacheTable,
    bytes_per_token as bytes_per_token,
    cache_bytes as cache_bytes,
    cache_table as cache_table,
    count_parameters as count_parameters,
    format_bytes as format_bytes,
    parse_dtype as parse_dtype,
    projection_macs as projection_macs,
    saved as saved,
)
from .analysis import (
    asymmetry as asymmetry,
    self_attention_share as self_attention_share,
)
from .attention import (
    Attention as Attention,
    AttentionMaps as AttentionMaps,
    attend as attend,
)
from .benchmark import (
    BENCHMARKS as BENCHMARKS,
    DECODE_SHAPE as DECODE_SHAPE,
    bench_decode as bench_decode,
    bench_train as bench_train,
)
from .cache import (
    KVCache as KVCache,
    LayerCache as LayerCache,
)
from .check import (
    CheckFailed as CheckFailed,
)
from .checkpoint import (
    CHECKPOINT_FILE as CHECKPOINT_FILE,
    CheckpointError as CheckpointError,
    RunError as RunError,
    load_checkpoint as load_checkpoint,
)
from .claims import (
    Finding as Finding,
    findings as findings,
)
from .config import (
    CONFIGS as CONFIGS,
    PLUS_CHANNELS as PLUS_CHANNELS,
    ROPE_SCHEMES as ROPE_SCHEMES,
    ConfigError as ConfigError,
    ModelConfig as ModelConfig,
    SetConfig as SetConfig,
    StackConfig as StackConfig,
    ViTConfig as ViTConfig,
    config_from_dict as config_from_dict,
    get_config as get_config,
)
from .doctor import (
    Check as Check,
    examine as examine,
    report as report,
)
from .encoder import (
    ENCODERS as ENCODERS,
    ConvEncoder as ConvEncoder,
    EncoderSpec as EncoderSpec,
    encode_images as encode_images,
    load_encoder as load_encoder,
)
from .experiments import (
    EIGHT_VARIANTS as EIGHT_VARIANTS,
    EXPERIMENTS as EXPERIMENTS,
    GAP_MAIN as GAP_MAIN,
    GAP_SHAPES as GAP_SHAPES,
    GAP_VARIANTS as GAP_VARIANTS,
    GRID as GRID,
    SIX_VARIANTS as SIX_VARIANTS,
    VISION_RECIPES as VISION_RECIPES,
    Experiment as Experiment,
    VisionRecipe as VisionRecipe,
    get_experiment as get_experiment,
    matched_config as matched_config,
)
from .export import (
    DecodeStep as DecodeStep,
    ExportError as ExportError,
    WholePass as WholePass,
    empty_past as empty_past,
    export_onnx as export_onnx,
    graph_names as graph_names,
    load_weights as load_weights,
    round_to_half as round_to_half,
    save_weights as save_weights,
)
from .fetch import (
    Archive as Archive,
    FetchError as FetchError,
    download as download,
    unpack as unpack,
)
from .flow import (
    AsymmetryParts as AsymmetryParts,
    split_asymmetry as split_asymmetry,
)
from .gap import (
    gap_curves as gap_curves,
    gap_task as gap_task,
    loss_curves as loss_curves,
    slope_per_doubling as slope_per_doubling,
    token_ratios as token_ratios,
)
from .generation import (
    GenerateError as GenerateError,
    Generation as Generation,
    GenerationStats as GenerationStats,
    generate as generate,
    stream_text as stream_text,
)
from .hull import (
    hull_distance as hull_distance,
    planar_hull as planar_hull,
)
from .journal import (
    compare as compare,
    predict as predict,
    recall as recall,
)
from .lab import (
    LabEngine as LabEngine,
    LabError as LabError,
    choose as choose,
    dice as dice,
    face_of as face_of,
    model_entry as model_entry,
    read_manifest as read_manifest,
)
from .linear import (
    Linear as Linear,
)
from .local_data import (
    data_folder as data_folder,
)
from .models import (
    GPT as GPT,
    Block as Block,
    Encoder as Encoder,
    SetEncoder as SetEncoder,
    TokenTransformer as TokenTransformer,
    Transformer as Transformer,
    ViT as ViT,
    build_model as build_model,
    patches as patches,
    token_loss as token_loss,
)
from .paper import (
    DataNotFoundError as DataNotFoundError,
    PaperClaim as PaperClaim,
    PaperFigure as PaperFigure,
    data_file as data_file,
    paper_claims as paper_claims,
    paper_figures as paper_figures,
    paper_statements as paper_statements,
)
from .passes import (
    PassCost as PassCost,
    matrix_weights as matrix_weights,
    pass_cost as pass_cost,
)
from .position import (
    PlusTerm as PlusTerm,
    PositionEmbedding as PositionEmbedding,
    plus_codes as plus_codes,
    sinusoid as sinusoid,
    sinusoid_2d as sinusoid_2d,
)
from .rebuild import (
    ConditioningError as ConditioningError,
    ConditioningWarning as ConditioningWarning,
    RebuildCache as RebuildCache,
    Rebuilding as Rebuilding,
    rebuilding as rebuilding,
)
from .records import (
    RecordError as RecordError,
    Rows as Rows,
    RunRecord as RunRecord,
    aggregate as aggregate,
    cpu_name as cpu_name,
    load_records as load_records,
    load_rows as load_rows,
    save_records as save_records,
    save_rows as save_rows,
    versions as versions,
)
from .roofline import (
    DEVICES as DEVICES,
    Machine as Machine,
    get_device as get_device,
    longest_context as longest_context,
    physical_memory as physical_memory,
)
from .rotary import (
    KeyValueScheme as KeyValueScheme,
    RelativeValues as RelativeValues,
    Rotary as Rotary,
    RotateOnRead as RotateOnRead,
    TwoTensors as TwoTensors,
    key_value_scheme as key_value_scheme,
)
from .sharing import (
    ROLES as ROLES,
    SHARINGS as SHARINGS,
    Sharing as Sharing,
    UnknownNameError as UnknownNameError,
    Variant as Variant,
    parse_sharing as parse_sharing,
    parse_variant as parse_variant,
)
from .speed import (
    SpeedRow as SpeedRow,
    SpeedTable as SpeedTable,
    compare_speed as compare_speed,
    take_turns as take_turns,
)
from .stats import (
    MIN_RUNS as MIN_RUNS,
    Interval as Interval,
    PairedDifference as PairedDifference,
    StatsError as StatsError,
    mean_interval as mean_interval,
    paired_difference as paired_difference,
    undominated as undominated,
)
from .sweep import (
    Job as Job,
    SweepError as SweepError,
    read_finished as read_finished,
    run_jobs as run_jobs,
)
from .tables import (
    EQUAL_PARAMETERS as EQUAL_PARAMETERS,
    GAP_METRIC as GAP_METRIC,
    GAP_TREND as GAP_TREND,
    NO_PLACES as NO_PLACES,
    PLUS_TOLD as PLUS_TOLD,
    TABLES as TABLES,
    TOKENS_METRIC as TOKENS_METRIC,
    ResultRow as ResultRow,
    ResultTable as ResultTable,
    language_losses as language_losses,
    place_task as place_task,
    result_table as result_table,
    synthetic_accuracy as synthetic_accuracy,
)
from .task_maps import (
    TaskMap as TaskMap,
    load_task_maps as load_task_maps,
)
from .tasks import (
    IGNORED as IGNORED,
    Task as Task,
    TaskError as TaskError,
)
from .tasks.anomaly import (
    SET_SIZE as SET_SIZE,
    Features as Features,
    SetTask as SetTask,
    load_features as load_features,
)
from .tasks.handmade import (
    LOOKS_BY as LOOKS_BY,
    ideal_map as ideal_map,
    solve_by_hand as solve_by_hand,
)
from .tasks.images import (
    IMAGE_SETS as IMAGE_SETS,
    ImageSet as ImageSet,
    ImagesNotFoundError as ImagesNotFoundError,
    ImageSource as ImageSource,
    fetch_images as fetch_images,
    get_image_source as get_image_source,
    image_folder as image_folder,
    load_images as load_images,
    load_tiny_imagenet as load_tiny_imagenet,
)
from .tasks.padded import (
    PaddedTextTask as PaddedTextTask,
)
from .tasks.synthetic import (
    TASKS as TASKS,
    SyntheticTask as SyntheticTask,
)
from .tasks.text import (
    TEXTS as TEXTS,
    TextSource as TextSource,
    TextTask as TextTask,
    decode as decode,
    encode as encode,
    fetch_text as fetch_text,
    standard_library_text as standard_library_text,
)
from .tasks.vision import (
    VisionTask as VisionTask,
)
from .tokenizer import (
    BYTES as BYTES,
    BPETokenizer as BPETokenizer,
    ByteTokenizer as ByteTokenizer,
    Tokenizer as Tokenizer,
    TokenizerError as TokenizerError,
    load_tokenizer as load_tokenizer,
    to_bytes as to_bytes,
)
from .training import (
    InterruptedRunError as InterruptedRunError,
    Progress as Progress,
    TrainConfig as TrainConfig,
    evaluate as evaluate,
    evaluate_batches as evaluate_batches,
    train as train,
)
from .widgets import (
    AttentionLab as AttentionLab,
    AttentionLookup as AttentionLookup,
    CacheMeter as CacheMeter,
    ClaimRater as ClaimRater,
    CourseWidget as CourseWidget,
    CurveSketch as CurveSketch,
    DecodeRoofline as DecodeRoofline,
    DecodeStepper as DecodeStepper,
    HeadSharing as HeadSharing,
    KeyHull as KeyHull,
    MeasuredCurve as MeasuredCurve,
    OddOneOut as OddOneOut,
    PaddingMeter as PaddingMeter,
    PatchAttention as PatchAttention,
    PlusGrid as PlusGrid,
    RotaryCache as RotaryCache,
    SymmetryMeter as SymmetryMeter,
    TaskMaps as TaskMaps,
    show as show,
)
