"""Scanner: closes to rolling correlation matrices to the velocity of their largest eigenvalue. Pure."""
