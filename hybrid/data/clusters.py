"""Connected components: what must not be told apart because something links it."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def connected(edges: Iterable[tuple[Node, Node]]) -> dict[Node, Node]:
    """Node -> the node of its component that came first. A node linked to itself is a component of one."""
    parent: dict[Node, Node] = {}
    order: dict[Node, int] = {}

    def root(node: Node) -> Node:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for edge in edges:
        for node in edge:
            parent.setdefault(node, node)
            order.setdefault(node, len(order))
        first, second = sorted((root(edge[0]), root(edge[1])), key=order.__getitem__)
        parent[second] = first
    return {node: root(node) for node in parent}
