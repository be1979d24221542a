"""What a person sees of drift: drift and alert records as a table, a page, a Parquet file."""
