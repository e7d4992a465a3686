"""families -> one small model of each. What test_zoo.py goes through."""

SAMPLE = (
    "resnet18", "densenet121", "regnetx_002", "mobilenetv3_small_050", "repvgg_a0", "nf_regnet_b0",
    "convnext_atto", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "crossvit_tiny_240",
    "swin_tiny_patch4_window7_224", "coatnet_pico_rw_224", "gmlp_ti16_224", "xcit_nano_12_p16_224",
)  # fmt: skip

ALL = (
    *SAMPLE,
    # residual and other convolutional networks
    "resnext50_32x4d", "resnetv2_18", "res2net50_14w_8s", "resnest50d_1s4x24d", "skresnet18",
    "legacy_seresnet18", "ecaresnet26t", "vgg11_bn", "inception_v3", "inception_v4",
    "inception_resnet_v2", "legacy_xception", "xception41", "dla34", "dpn48b", "hrnet_w18_small",
    "cspresnet50", "cspnext_tiny", "cs3darknet_focus_s", "regnety_002", "efficientnet_b0",
    "tf_efficientnet_b0", "mobilenetv2_050", "mobilenetv4_conv_small", "mnasnet_small", "lcnet_050",
    "lcnetv2_small", "hardcorenas_a", "ghostnet_050", "ghostnetv3_050", "repghostnet_050",
    "rexnet_100", "ese_vovnet19b_slim_dw", "selecsls42", "dm_nfnet_f0", "nfnet_l0", "nf_resnet50",
    "resnetv2_50x1_bit", "convnextv2_atto", "inception_next_atto", "mambaout_femto", "starnet_s050",
    "fasternet_t0", "repvit_m0_9", "mobileone_s0", "gernet_s", "edgenext_xx_small", "hgnetv2_b0",
    "rdnet_tiny", "shvit_s1", "lowformer_b0",
    # transformers, mixers, and what lies between
    "deit3_small_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_224",
    "cait_xxs24_224", "convit_tiny", "pit_ti_224", "tnt_s_legacy_patch16_224", "levit_128s",
    "levit_conv_128s", "swinv2_tiny_window8_256", "swinv2_cr_tiny_ns_224", "twins_pcpvt_small",
    "nest_tiny", "pvt_v2_b0", "mvitv2_tiny", "coat_lite_tiny", "davit_tiny", "focalnet_tiny_srf",
    "gcvit_xxtiny", "hiera_tiny_224", "maxvit_rmlp_pico_rw_256", "maxvit_tiny_tf_224",
    "tiny_vit_5m_224", "visformer_tiny", "volo_d1_224", "vitamin_small_224", "mixer_s16_224",
    "resmlp_12_224", "poolformer_s12", "convformer_s18", "sequencer2d_s", "mobilevit_xxs",
    "mobilevitv2_050", "efficientformer_l1", "efficientformerv2_s0", "efficientvit_b0",
    "efficientvit_m0", "fastvit_t8", "nextvit_small", "swiftformer_xs", "efficientvim_m1",
    "iformer_t", "vit_tiny_r_s16_p8_224", "vit_relpos_small_patch16_224",
)  # fmt: skip

# timm: module file -> the smallest of its models, by the number of parameters.
SMALLEST = {
    "beit": "beit_base_patch16_224", "byoanet": "halonet_h1", "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224", "coat": "coat_tiny", "convit": "convit_tiny",
    "convmixer": "convmixer_768_32", "convnext": "test_convnext", "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240", "csatv2": "csatv2", "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny", "davit": "davit_tiny", "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224", "densenet": "densenet121", "dla": "dla46x_c", "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small", "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0", "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1", "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0", "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0", "fastvit": "fastvit_t8", "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny", "gemma4_vit": "gemma4_vit_167m", "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b", "hgnet": "hgnetv2_b0", "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny", "hrnet": "hrnet_w18_small", "iformer": "iformer_t",
    "inception_next": "inception_next_atto", "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3", "inception_v4": "inception_v4", "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s", "lowformer": "lowformer_b0", "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet", "metaformer": "poolformerv2_s12", "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "mobilenetv3_small_050", "mobilenetv5": "mobilenetv5_300m",
    "mobilevit": "mobilevit_xxs", "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_gap", "nasnet": "nasnetalarge", "nest": "nest_tiny",
    "nextvit": "nextvit_small", "nfnet": "test_nfnet", "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large", "pvt_v2": "pvt_v2_b0", "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny", "regnet": "regnetx_002", "repghost": "repghostnet_050",
    "repvit": "repvit_m1", "res2net": "res2next50", "resnest": "resnest14d",
    "resnet": "test_resnet", "resnetv2": "resnetv2_18", "rexnet": "rexnet_100",
    "selecsls": "selecsls42", "senet": "legacy_seresnet18", "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1", "sknet": "skresnet18", "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs", "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224", "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224", "tresnet": "tresnet_m", "twins": "twins_svt_small",
    "vgg": "vgg11", "visformer": "visformer_tiny", "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224", "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224", "vovnet": "ese_vovnet19b_slim_dw", "xception": "legacy_xception",
    "xception_aligned": "xception41p", "xcit": "xcit_nano_12_p8_224",
}  # fmt: skip

# timm: the smallest model of each further kind of stem (class, kernel, stride, how many beside one
# another).
STEMS = (
    "crossvit_9_dagger_240", "darknet17", "dm_nfnet_f0", "edgenext_small_rw",
    "eva02_tiny_patch14_224", "mixer_s32_224", "nf_resnet26", "pit_b_224", "resnetv2_50x1_bit",
    "tf_mobilenetv3_small_075", "vit_small_patch8_224",
)  # fmt: skip

# timm: those whose stem rearranges pixels before its convolution, which are refused.
REARRANGING = {"tresnet_m", "csatv2"}

# timm: those that take no smaller images than their own, though their metadata do not say so.
OWN_SIZE = {"halonet_h1", "deepseek_vit_412m"}

# timm: those whose first layer is a linear one over flattened patches, and its name.
FLAT = {
    "naflexvit_base_patch16_gap": "embeds.proj",
    "gemma4_vit_167m": "encoder.patch_embed.input_proj",
}

# torchvision: model -> the layer that takes the images.
CLASSIFIERS = {
    "resnet18": "conv1",
    "mobilenet_v3_small": "features.0.0",
    "squeezenet1_1": "features.0",
    "vit_b_32": "conv_proj",
    "alexnet": "features.0",
    "vgg11": "features.0",
    "densenet121": "features.conv0",
    "shufflenet_v2_x0_5": "conv1.0",
    "mnasnet0_5": "layers.0",
    "regnet_y_400mf": "stem.0",
    "efficientnet_b0": "features.0.0",
    "convnext_tiny": "features.0.0",
    "swin_t": "features.0.0",
    "maxvit_t": "stem.0.0",
}
DETECTORS = {
    "ssdlite320_mobilenet_v3_large": "backbone.features.0.0.0",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "backbone.body.0.0",
    "retinanet_resnet50_fpn": "backbone.body.conv1",
    "fcos_resnet50_fpn": "backbone.body.conv1",
    "maskrcnn_resnet50_fpn": "backbone.body.conv1",
    "keypointrcnn_resnet50_fpn": "backbone.body.conv1",
}
SEGMENTERS = {
    "lraspp_mobilenet_v3_large": "backbone.0.0",
    "deeplabv3_mobilenet_v3_large": "backbone.0.0",
    "fcn_resnet50": "backbone.conv1",
}
VIDEO = {"r3d_18": "stem.0", "mc3_18": "stem.0", "r2plus1d_18": "stem.0"}
EVERY_COMMIT = {
    "resnet18", "squeezenet1_1", "mobilenet_v3_small", "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn", "lraspp_mobilenet_v3_large", "r3d_18",
}  # fmt: skip
