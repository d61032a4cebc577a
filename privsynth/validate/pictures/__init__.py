"""The paid rules about pictures: is a real one copied, and do drawn ones go with their rows?"""
