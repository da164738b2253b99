"""Where recipes come from: OSv's manifests, and Capstan's Capstanfiles and packages."""
