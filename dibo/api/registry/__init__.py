"""The functions behind `dibo push`, `dibo tree` and `dibo promote`: artefacts and all that refers to them."""
