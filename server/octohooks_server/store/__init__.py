"""What Octohooks keeps: tables and the functions over them.

A store function takes a connection first and then keywords; it never begins or commits a
transaction. `get_` raises `NotFound`, `find_` answers None.
"""
