"""The calls by which workers join and leave, the same for ours and for LLaVA's own."""

from fastapi import APIRouter, Request

from llava_serve.cluster.admission import Caller, Door
from llava_serve.http.json_body import JsonRoute
from llava_serve.protocol.cluster import Deregistration, Heartbeat, HeartbeatAnswer, Registration


def build_router(door: Door) -> APIRouter:
    router = APIRouter(route_class=JsonRoute)

    @router.post("/register_worker")
    async def register_worker(body: Registration, request: Request) -> None:
        await door.join(body, _caller(request))

    @router.post("/receive_heart_beat")
    async def receive_heart_beat(body: Heartbeat, request: Request) -> HeartbeatAnswer:
        is_known = door.beat(body.worker_name, body.queue_length, _caller(request))
        return HeartbeatAnswer(exist=is_known)

    @router.post("/deregister_worker")
    async def deregister_worker(body: Deregistration, request: Request) -> None:
        door.leave(body.worker_name, _caller(request))

    @router.post("/refresh_all_workers")
    async def refresh_all_workers() -> None:
        await door.refresh()

    return router


def _caller(request: Request) -> Caller:
    host = request.client.host if request.client else "an unknown address"
    return Caller(host, request.headers.get("authorization"))
