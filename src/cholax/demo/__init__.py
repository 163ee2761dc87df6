"""A worked example on real data: a spatial Poisson model of North Carolina's SIDS counts."""
