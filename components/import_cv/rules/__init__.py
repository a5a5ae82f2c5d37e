"""From a sentence as it was written to one as it was spoken: named rules, generic ones and those of a locale."""
