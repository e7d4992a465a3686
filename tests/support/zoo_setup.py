"""torchvision's operator schemas -> a torchvision that imports beside any torch. Tests only.

torchvision's wheels carry compiled operators for one build of torch and refuse to be imported
beside another, for they register shape functions for operators that then do not exist. Their
schemas are defined here first; what the detectors need of them is computed in Python.
"""

import torch
from torch import Tensor

SCHEMAS = """
nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor;
qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor;
roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt
    pooled_width, int sampling_ratio, bool aligned) -> Tensor;
qroi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width,
    int sampling_ratio, bool aligned) -> Tensor;
_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt
    pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width, int
    sampling_ratio, bool aligned) -> Tensor;
roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt
    pooled_width) -> (Tensor, Tensor);
_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, SymInt
    pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height,
    SymInt width) -> Tensor;
ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt
    pooled_width, int sampling_ratio) -> (Tensor, Tensor);
_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale,
    SymInt pooled_height, SymInt pooled_width, int sampling_ratio, SymInt batch_size, SymInt
    channels, SymInt height, SymInt width) -> Tensor;
ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt
    pooled_width) -> (Tensor, Tensor);
_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale,
    SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt
    height, SymInt width) -> Tensor;
deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt
    stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w,
    SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor;
_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask,
    Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt
    dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) ->
    (Tensor, Tensor, Tensor, Tensor, Tensor)
"""

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def non_maximum_suppression(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep each box that no better one overlaps by more than the threshold, the best first."""
    order = scores.argsort(descending=True)
    boxes = boxes[order]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept, alive = [], torch.ones(len(boxes), dtype=torch.bool)
    for best in range(len(boxes)):
        if alive[best]:
            kept.append(best)
            low = torch.maximum(boxes[best, :2], boxes[:, :2])
            high = torch.minimum(boxes[best, 2:], boxes[:, 2:])
            shared = (high - low).clamp(min=0).prod(1)
            alive &= shared / (areas[best] + areas - shared) <= iou_threshold
    return order[kept]


def prepare() -> None:
    """Define what is missing, so that `import torchvision` works and its detectors run."""
    if not hasattr(torch.ops.torchvision, "nms"):
        for schema in SCHEMAS.split(";"):
            _LIBRARY.define(" ".join(schema.split()))
        _LIBRARY.impl("nms", non_maximum_suppression, "CPU")
    import torchvision.ops.boxes

    if not torchvision.extension._has_ops():
        # The check is for the compiled operators; the Python ones are as good here.
        torchvision.ops.boxes._assert_has_ops = lambda: None
