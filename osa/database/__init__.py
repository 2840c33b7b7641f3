"""The index of all records: a relational database that can be made again from them at any time."""
