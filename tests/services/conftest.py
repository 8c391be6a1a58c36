"""What tests of services may ask for: a platform of its own, and the clock that it goes by."""

from tests.platforms import clock as clock
from tests.platforms import platform as platform
