"""images as given -> the first of them, checked, as the model is fed it."""

from torch import Tensor, nn

from warminit.images.check import as_model_input, check_images, standardization
from warminit.initializers.stems.subject import Statistics
from warminit.models.find import find_layer


def first_image(
    model: nn.Module, images: Tensor, mean: Statistics = None, std: Statistics = None
) -> Tensor:
    """Return (1, C, *size): one image that shows what a model computes.

    Raises:
        WarminitError: If the images cannot be those of this model.
    """
    if getattr(images, "is_nested", False):
        check_images(images)
    target = find_layer(model, None, images)
    checked = check_images(images, spatial_dims=target.spatial_dims)
    return as_model_input(checked[:1], standardization(mean, std, checked.shape[1]))
