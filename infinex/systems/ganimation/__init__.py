"""GANimation: expressions by Action Units, painted where an attention mask says so (Pumarola et al. 2018)."""
