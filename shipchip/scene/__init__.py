"""Windows around positions in a whole scene, as the chips that `decode` reads.

scene.py    a scene; a window of it as a chip, or as a GeoTIFF
product.py  which TIFFs it is: one, or the measurement files of a Sentinel-1 product
image.py    one TIFF, open
header.py   what a TIFF says about its samples, read and checked as a chip's
ground.py   pixels of a scene <-> degrees
land.py     which positions are on land

The samples of a window, and what the whole file says about them (names, scales, no-data, a mask, an
alpha band, that the least value is white), go through the code that reads chips. So a window is the
chip that is cut out by hand. This needs the extra `geo`, which brings rasterio.
"""

from shipchip.scene.land import Land, open_land
from shipchip.scene.product import stamps_of
from shipchip.scene.scene import Place, Scene, open_scene, window_size

__all__ = ["Land", "Place", "Scene", "open_land", "open_scene", "stamps_of", "window_size"]
