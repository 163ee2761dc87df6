"""What samplers need and no sampler's library: whitening and latent draws."""

from cholax.stats.sampling.latents import sample_latents as sample_latents
from cholax.stats.sampling.whitening import Whitening as Whitening
