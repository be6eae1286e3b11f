"""One class per layer of the YAML format; `LAYERS` maps the YAML names to them."""

from cnnkit.format.base import Table

LAYERS = Table(
    kind="layer",
    listed=True,
    package="cnnkit.layers",
    other_names="other_names",
    modules={
        "convolution": ("Conv2D", "SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose"),
        "pooling": (
            "MaxPooling2D",
            "AveragePooling2D",
            "GlobalMaxPooling2D",
            "GlobalAveragePooling2D",
        ),
        "normalization": (
            "BatchNormalization",
            "LayerNormalization",
            "GroupNormalization",
            "UnitNormalization",
            "LocalResponseNormalization",
            "Normalization",
        ),
        "activation": ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Maxout"),
        "backbone": ("Backbone",),
        "core": ("Dense", "Flatten", "Reshape", "Permute"),
        "dropout": ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
        "composite": ("Residual", "Branches", "Repeat"),
        "resampling": ("UpSampling2D", "ZeroPadding2D", "Cropping2D", "Rescaling", "Resizing"),
    },
)
