"""What samplers need and no sampler's library: coordinates on planes, whitening, latent draws."""

from cholax.stats.sampling.latents import sample_latents as sample_latents
from cholax.stats.sampling.plane import Plane as Plane
from cholax.stats.sampling.whitening import Whitening as Whitening
