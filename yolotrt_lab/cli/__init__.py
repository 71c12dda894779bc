"""The command line `yolotrt`: one module per command, thin over the package."""
