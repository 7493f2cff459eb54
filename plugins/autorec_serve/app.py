"""The FastAPI application: one function a route, described by the models of `asked` and `told`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from autorec_serve import asked, told
from autorec_serve.gate import Asgi, Gate
from autorec_serve.loaded import Served
from autorec_serve.metrics import MEDIA_TYPE
from autorec_serve.problem import MEDIA_TYPE as PROBLEM
from autorec_serve.problem import Refused, problem_body
from autorec_serve.settings import Access
from autorec_serve.work import Work, predict, recommend, score

__all__ = ["create_app", "guarded"]

VERSION = "1"  # of the interface, not of the software
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def guarded(served: Served, access: Access) -> Asgi:
    """Return the application behind its gate: what a server runs."""
    app = create_app(served)
    routes = {route.path: next(iter(route.methods or ())) for route in app.routes if isinstance(route, APIRoute)}
    return Gate(app, routes, access, served.limits, served.metrics)


def create_app(served: Served) -> FastAPI:
    """Return the application without its gate; it trusts what it gets to be small and wanted."""
    app = FastAPI(
        title="AutoRec",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(Exception, _fail)
    _add_questions(app, served)
    _add_answers(app, served)
    return app


def _add_questions(app: FastAPI, served: Served) -> None:
    @app.get("/healthz", response_model=told.Health)
    async def healthz() -> Response:
        """Say that the process is alive."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", response_model=told.Ready)
    async def readyz() -> Response:
        """Say which bundle answers, and how the last reload ended."""
        return JSONResponse({"ready": True, "bundle": served.current.digest, "reload": served.last_reload})

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return the counters in Prometheus' text format."""
        return Response(served.metrics.text(), media_type=MEDIA_TYPE)

    @app.get("/schema", response_model=told.Facts)
    async def schema() -> Response:
        """Say what the bundle is and reads."""
        return JSONResponse(served.current.facts(served.limits))

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        """Describe these routes."""
        return JSONResponse(app.openapi())


def _add_answers(app: FastAPI, served: Served) -> None:
    table: tuple[tuple[str, type[BaseModel], type[BaseModel], Work, str], ...] = (
        ("recommend", asked.Recommend, told.Lists, recommend, "Return the best items of every user."),
        ("score", asked.Score, told.Scores, score, "Score given items for one user."),
        ("predict", asked.Predict, told.Predictions, predict, "Predict the label of every row."),
    )
    for name, question, answer, work, summary in table:
        app.post(f"/v1/{name}", name=name, summary=summary, response_model=answer, responses=_problems(), openapi_extra=_body(question))(
            _endpoint(served, work)
        )


def _endpoint(served: Served, work: Work) -> Any:
    async def answer(request: Request) -> Response:
        return Response(await served.answer(work, await request.body()), media_type="application/json")

    return answer


async def _refuse(request: Request, error: Exception) -> Response:
    """Turn a refusal into a problem."""
    assert isinstance(error, Refused)
    exchange = request.scope["autorec"]
    exchange.code = error.code
    return Response(problem_body(error, exchange.request_id), error.status, error.headers, PROBLEM)


async def _fail(request: Request, error: Exception) -> Response:
    """Answer for an error that nobody expected; the gate logs it."""
    return await _refuse(request, Refused(500, "internal", "the server failed; its log says why"))


def _problems() -> dict[int | str, dict[str, Any]]:
    return {"default": {"description": "Refused", "content": {PROBLEM: {"schema": told.Problem.model_json_schema()}}}}


def _body(question: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": question.model_json_schema()}}}}
