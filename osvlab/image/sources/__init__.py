"""Where recipes come from: OSv's manifests, Capstan's Capstanfiles and packages, programs of this host."""
