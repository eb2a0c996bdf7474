"""How the admin shows what must not be edited: pages to read, links between them, and forms that call a service.

It knows no context: a page of another one is named by its label (`stock.reservation`), never by its model.
"""
