"""Names that somebody who knows Keras, PyTorch or papers writes for a layer, and what to write instead.

Loaded when a config has such a name. An answer that begins with `write` has an example that is valid as it stands.
"""

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.format.similar import fold
from cnnkit.layers import LAYERS
from cnnkit.layers.weights import ACTIVATIONS, OTHER_ACTIVATIONS


def _write(example: str, remark: str = "") -> str:
    return f"write `{example}`" + (f", {remark}" if remark else "")


#: Further names of layers that are there.
_ALIASES = {
    "MaxPooling2D": ("MaxPool2D", "MaxPool", "MaxPooling"),
    "AveragePooling2D": ("AvgPool2D", "AvgPool", "AvgPooling2D", "AveragePooling", "MeanPooling2D"),
    "GlobalMaxPooling2D": ("GlobalMaxPool2D", "GlobalMaxPool", "GlobalMaxPooling"),
    "GlobalAveragePooling2D": (
        *("GlobalAvgPool2D", "GlobalAvgPool", "GlobalAveragePooling", "GlobalAvgPooling2D", "GAP"),
    ),
    "Conv2D": ("Convolution2D", "Conv", "Convolution"),
    "Conv2DTranspose": (
        *("Convolution2DTranspose", "ConvTranspose2d", "Deconv2D", "Deconvolution2D", "TransposedConv2D"),
        *("Conv2DTransposed", "UpConv2D"),
    ),
    "SeparableConv2D": ("SeparableConvolution2D",),
    "DepthwiseConv2D": ("DepthwiseConvolution2D", "DWConv2D"),
    "BatchNormalization": ("BatchNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BN", "SyncBatchNorm"),
    "LayerNormalization": ("LayerNorm",),
    "GroupNormalization": ("GroupNorm",),
    "LocalResponseNormalization": ("LocalResponseNorm", "LRN"),
    "Dense": ("Linear", "LazyLinear", "FullyConnected", "FC", "InnerProduct", "MLP"),
    "UpSampling2D": ("Upsample", "UpsamplingNearest2d", "Upscale2D"),
    "ZeroPadding2D": ("ZeroPad2d", "Pad2D"),
    "SpatialDropout2D": ("Dropout2d", "FeatureDropout"),
    "Cropping2D": ("Crop2D",),
    "Resizing": ("Resize",),
    "AdaptiveAveragePooling2D": ("AdaptiveAvgPool2d",),
    "AdaptiveMaxPooling2D": ("AdaptiveMaxPool2d",),
    "AdaptiveAveragePooling1D": ("AdaptiveAvgPool1d",),
    "AdaptiveMaxPooling1D": ("AdaptiveMaxPool1d",),
    "MultiHeadAttention": ("SelfAttention", "MHSA"),
    "RMSNormalization": ("RMSNorm",),
    "SpectralNormalization": ("SpectralNorm",),
    "Conv1D": ("Convolution1D",),
    "Conv1DTranspose": ("Convolution1DTranspose", "ConvTranspose1d", "Deconv1D"),
    "SeparableConv1D": ("SeparableConvolution1D",),
    "DepthwiseConv1D": ("DepthwiseConvolution1D",),
    "MaxPooling1D": ("MaxPool1D",),
    "AveragePooling1D": ("AvgPool1D",),
    "GlobalMaxPooling1D": ("GlobalMaxPool1D", "MaxOverTime"),
    "GlobalAveragePooling1D": ("GlobalAvgPool1D",),
    "SpatialDropout1D": ("Dropout1d",),
    "Conv3D": ("Convolution3D",),
    "Conv3DTranspose": ("Convolution3DTranspose", "ConvTranspose3d", "Deconv3D"),
    "MaxPooling3D": ("MaxPool3D",),
    "AveragePooling3D": ("AvgPool3D",),
    "GlobalMaxPooling3D": ("GlobalMaxPool3D",),
    "GlobalAveragePooling3D": ("GlobalAvgPool3D",),
    "SpatialDropout3D": ("Dropout3d",),
    "StochasticDepth": ("DropPath",),
    "LayerScale": ("Scale",),
    "SqueezeExcite": (
        *("SqueezeExcitation", "SqueezeAndExcitation", "SqueezeAndExcite2D", "SELayer", "SEBlock", "SEModule"),
    ),
    "ChannelShuffle": ("ShuffleChannels",),
    "MinibatchStandardDeviation": ("MinibatchStdDev", "MinibatchStd", "MinibatchStddev", "MinibatchStdLayer"),
}

_TRANSFORMER = _write(
    "Residual: [LayerNormalization, MultiHeadAttention: {num_heads: 4, key_dim: 16}]",
    "and after it the same with two `Dense` in the place of the attention",
)
_LISTS = "with the layers of each path in a list of its own (`[]`: the input as it is)"
_INPUT = "leave it out; what the network receives is what `data` says"
_IDENTITY = "leave it out; a path that passes its input on is an empty list, `[]`"

#: Layers that others make.
_COMBINED = {
    "Add": _write("Branches: {merge: add, paths: [[], [ReLU]]}", _LISTS + "; `Residual` adds its input by itself"),
    "Subtract": _write("Branches: {merge: subtract, paths: [[], [ReLU]]}", _LISTS),
    "Dot": _write("Branches: {merge: dot, axes: -1, paths: [[], [ReLU]]}", _LISTS),
    "Multiply": _write("Branches: {merge: multiply, paths: [[], [ReLU]]}", _LISTS),
    "Average": _write("Branches: {merge: average, paths: [[], [ReLU]]}", _LISTS),
    "Maximum": _write("Branches: {merge: maximum, paths: [[], [ReLU]]}", _LISTS),
    "Minimum": _write("Branches: {merge: minimum, paths: [[], [ReLU]]}", _LISTS),
    "Concatenate": _write("Branches: {merge: concatenate, paths: [[], [ReLU]]}", _LISTS),
    "Concat": _write("Branches: {merge: concatenate, paths: [[], [ReLU]]}", _LISTS),
    "TransformerEncoder": _TRANSFORMER,
    "TransformerEncoderLayer": _TRANSFORMER,
    "Transformer": _TRANSFORMER,
    "Sequential": "leave it out; a list of layers is one already, and a name for it is a block of `model.blocks`",
    "ModuleList": "leave it out; a list of layers is one already, and a name for it is a block of `model.blocks`",
    "Input": _INPUT,
    "InputLayer": _INPUT,
    "Identity": _IDENTITY,
    "Nop": _IDENTITY,
    "Skip": _IDENTITY,
    "Shortcut": _write("Residual: [ReLU]", "with the layers that it leads around"),
    "GLU": _write("Activation: glu"),
    "Threshold": _write("Activation: {threshold: {threshold: 0.1, default_value: 0}}"),
    "ThresholdedReLU": _write("ReLU: {threshold: 1.0}"),
    "ActivityRegularization": _write(
        "Conv2D: {filters: 8, kernel_size: 3, activity_regularizer: {L2: 0.01}}", "an argument of the layer before it"
    ),
    "InstanceNormalization": _write("GroupNormalization: {groups: -1}"),
    "InstanceNorm2d": _write("GroupNormalization: {groups: -1}"),
    "CenterCrop": _write(
        "Cropping2D: 2", "the rows and columns to cut off, or `data.image_size` with `data.resize: crop`"
    ),
    "UpsamplingBilinear2d": _write("UpSampling2D: {size: 2, interpolation: bilinear}"),
    "PointwiseConv2D": _write("Conv2D: {filters: 32, kernel_size: 1}"),
    "Dilation2D": _write("Conv2D: {filters: 32, kernel_size: 3, dilation_rate: 2}"),
    "AtrousConvolution2D": _write("Conv2D: {filters: 32, kernel_size: 3, dilation_rate: 2}"),
    "GroupConv2D": _write("Conv2D: {filters: 32, kernel_size: 3, groups: 2}"),
    "ResidualBlock": _write("Residual: [Conv2D: {filters: 32, kernel_size: 3, padding: same}, BatchNormalization]"),
    "Transpose": _write("Permute: [2, 1, 3]"),
    "View": _write("Reshape: [-1]"),
    "Unflatten": _write("Reshape: [1, 1, -1]"),
    "PixelShuffle": "cnnkit has no depth-to-space; enlarge with `UpSampling2D` or `Conv2DTranspose`",
}

#: What is missing altogether, by what is missing.
_MISSING = {
    "cnnkit has no such layer for volumes, nor has Keras; use a `Conv3D` with as many `groups` as channels": (
        *("DepthwiseConv3D", "SeparableConv3D"),
    ),
    "cnnkit has no recurrent layers": (
        *("LSTM", "LSTMCell", "GRU", "GRUCell", "RNN", "SimpleRNN", "SimpleRNNCell", "StackedRNNCells"),
        *("Bidirectional", "TimeDistributed", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
    ),
    "cnnkit has no attention but `MultiHeadAttention`, by which positions attend to each other": (
        *("Attention", "AdditiveAttention", "GroupQueryAttention", "GroupedQueryAttention"),
    ),
    "cnnkit has no layers for sequences and text": (
        *("ReversibleEmbedding", "Masking", "RepeatVector", "TextVectorization", "PositionEmbedding"),
    ),
    "cnnkit has no layers for tables": (
        *("CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"),
    ),
    "cnnkit has no layers for sound": ("MelSpectrogram", "STFTSpectrogram"),
    "cnnkit has no layers of Python code; put layers together under a name in `model.blocks`": (
        *("Lambda", "Layer", "Wrapper", "Function", "Model", "Module"),
        *("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper", "InputSpec", "Pipeline"),
    ),
    "cnnkit has no products of paths but `merge: multiply` and `merge: dot` of `Branches`": ("EinsumDense", "Bilinear"),
    "cnnkit has no locally connected layers": ("LocallyConnected1D", "LocallyConnected2D"),
    "cnnkit has no bounding boxes": ("MaxNumBoundingBoxes", "RoIAlign", "RoIPool"),
    "cnnkit has no padding but zeros": ("ReflectionPad2d", "ReplicationPad2d", "CircularPad2d", "ReflectionPadding2D"),
    "cnnkit has no unpooling": ("MaxUnpool2d", "MaxUnpooling2D"),
    "cnnkit has no pooling of powers; there are `MaxPooling2D` and `AveragePooling2D`": ("LPPool2d", "GeMPooling2D"),
    "cnnkit has no pooling of several sizes in one layer; put several into `Branches`": ("SpatialPyramidPooling",),
    "cnnkit has no deformable convolutions": ("DeformConv2d",),
}


def _unavailable() -> dict[str, str]:
    layers = {fold(name) for name in LAYERS.names()}
    hints = {name: _write(f"Activation: {name}") for name in ACTIVATIONS if fold(name) not in layers}
    hints |= {other: _write(f"Activation: {name}") for other, name in OTHER_ACTIVATIONS.items() if name in hints}
    for name in AUGMENTATIONS.names():
        hints[name] = "it changes only training images, and belongs in `augmentation:`"
    for reason, names in _MISSING.items():
        hints |= dict.fromkeys(names, reason)
    return hints | _COMBINED


#: For each name, the layer that it means.
OTHER_NAMES = {other: name for name, others in _ALIASES.items() for other in others}
#: For each name, what to write instead.
UNAVAILABLE = _unavailable()
