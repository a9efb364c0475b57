"""Data sets as they are downloaded, one module each; see record.Source for what each offers."""
