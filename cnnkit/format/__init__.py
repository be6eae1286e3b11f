"""What YAML is to cnnkit: documents with places, strict models, named objects, expressions, messages."""
