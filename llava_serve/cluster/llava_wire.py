"""The controller's side of LLaVA's own wire: names, addresses, streams."""

from typing import Any

from fastapi import APIRouter, Request

from llava_serve.cluster.forward import Exchange, Forward, Job
from llava_serve.cluster.held_body import HeldBody
from llava_serve.cluster.wire import OLD
from llava_serve.errors import InvalidField, NoWorker
from llava_serve.http.body import read_json
from llava_serve.http.json_body import JsonRoute
from llava_serve.protocol.llava import AddressAnswer, ModelNames, ModelQuery


def build_router(exchange: Exchange) -> APIRouter:
    router = APIRouter(route_class=JsonRoute)
    workers, clock = exchange.workers, exchange.clock

    @router.post("/list_models")
    async def list_models() -> ModelNames:
        return ModelNames(models=workers.models(clock()))

    @router.post("/get_worker_address")
    async def get_worker_address(body: ModelQuery) -> AddressAnswer:
        try:
            return AddressAnswer(address=workers.address_of(body.model, clock()))
        except NoWorker:
            return AddressAnswer(address="")

    @router.post("/worker_generate_stream")
    async def worker_generate_stream(request: Request) -> Forward:
        decoded, body = await read_json(request)
        model = decoded.get("model") if isinstance(decoded, dict) else None
        if not isinstance(model, str):
            raise InvalidField("model", "must be the name of a model")
        prompt = decoded.get("prompt")
        job = Job(
            wire=OLD,
            model=model,
            body=HeldBody(body, request),
            via=request.headers.get("via"),
            first_byte_s=exchange.upstream.limits.first_byte_s,
            prompt=prompt if isinstance(prompt, str) else "",
        )
        return Forward(exchange, job)

    @router.post("/worker_get_status")
    async def worker_get_status() -> dict[str, Any]:
        """All workers as one, out of the registry: two controllers never poll each other."""
        alive = workers.alive(clock())
        return {
            "model_names": workers.models(clock()),
            "speed": sum(worker.speed for worker in alive),
            "queue_length": sum(worker.queue_length for worker in alive),
        }

    return router
