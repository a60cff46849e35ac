"""The embedded world: generated parallel text, two English collections, two small pretrained backbones."""
