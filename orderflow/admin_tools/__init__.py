"""Toolkit for admin pages: read-only pages, links between them, and forms that call a service.

It knows no context: pages of models are named by label (`stock.reservation`), never by model.
"""
