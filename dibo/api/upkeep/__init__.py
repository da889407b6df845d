"""The functions behind `dibo doctor` and `dibo clean`."""
