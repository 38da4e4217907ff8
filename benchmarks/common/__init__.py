"""What the scripts share: data sets, methods, the environment, files of results, pages."""
