"""An epoch cut into batches without known false negatives.

Two pairs of one cluster are no negatives of each other, so a batch should hold at most one of them.
"""

from collections import deque
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def plan_epoch(order: Ints, clusters: Ints, batch_size: int) -> Ints:
    """Rows (batches, batch_size): `order` cut into batches, none with two rows of one cluster if avoidable.

    A row whose cluster is already in the batch is deferred to the next one. With n_c rows left of cluster
    c and r batches left, a conflict-free rest exists if Σ_c min(n_c, r) ≥ r·batch_size. A batch lowers
    that sum least when it serves every cluster with n_c ≥ r, so these urgent ones come first; once urgent,
    a cluster stays so. Where fewer clusters are left than places, rows that conflict fill the batch and
    the loss masks them. Rows beyond the last full batch wait for the next epoch, which draws its own order.
    """
    batches = len(order) // batch_size
    queues: dict[int, deque[int]] = {}  # cluster -> places in `order` of its rows not yet used
    for place, cluster in enumerate(clusters[order].tolist()):
        queues.setdefault(cluster, deque()).append(place)
    waiting = [(queue[0], cluster) for cluster, queue in queues.items()]  # a heap of the clusters not urgent
    by_count: dict[int, set[int]] = {}  # rows left -> clusters not urgent
    for cluster, queue in queues.items():
        by_count.setdefault(min(len(queue), batches), set()).add(cluster)
    urgent: list[int] = []
    plan = np.empty((batches, batch_size), dtype=np.int64)
    for number in range(batches):
        newly_urgent = by_count.pop(batches - number, set())
        urgent = [cluster for cluster in [*urgent, *sorted(newly_urgent)] if queues[cluster]]
        urgent.sort(key=lambda cluster: queues[cluster][0])
        chosen = [queues[cluster].popleft() for cluster in urgent[:batch_size]]
        served: list[int] = []
        while len(chosen) < batch_size and waiting:
            place, cluster = heappop(waiting)
            if cluster in by_count.get(len(queues[cluster]), ()):  # else it is urgent and was served above
                by_count[len(queues[cluster])].discard(cluster)
                chosen.append(queues[cluster].popleft())
                served.append(cluster)
        for cluster in served:
            if queues[cluster]:
                by_count.setdefault(len(queues[cluster]), set()).add(cluster)
                heappush(waiting, (queues[cluster][0], cluster))
        if len(chosen) < batch_size:
            rest = sorted(place for queue in queues.values() for place in queue)[: batch_size - len(chosen)]
            for place in rest:
                queues[int(clusters[order[place]])].remove(place)
            chosen += rest
        plan[number] = order[np.sort(chosen)]
    return plan
