"""What the product tells about itself: metrics and logs.

Knows names and formats, not what is measured or where records come from.
"""
