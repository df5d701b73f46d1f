"""What ``gasang doctor`` looks at: one function a check, each with its remedy. The table is in table.py."""
