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
