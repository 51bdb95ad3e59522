"""Runs flows on calls: node after node, each verb answering by which edge it leaves.

What is journalled: FlowEntered, then for every node NodeEntered … NodeLeft, then exactly one FlowLeft, whatever
happens. A caller's hang-up cancels the task (engine/call.py): the node is left by edge `hung_up`, the flow with why
`hung_up`.

After the death of the process a call goes on in the node in which it was: what that node says is heard again, what was
answered before stands, and the log shows one flow, as if nothing had been.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from engine.call import Call, Frame
from events.types import FlowEntered, FlowFailed, FlowLeft, NodeEntered, NodeLeft
from ivr.model import Flow, Left
from ivr.ports import Ports
from ivr.step import Step

MAX_STILL_NODES = 200
"""Nodes in a row that each take less than STILL_SECONDS: a flow that turns in a circle must not hang the process."""
STILL_SECONDS = 0.01
MAX_NODES = 5000
"""Nodes in one call."""


class FlowError(Exception):
    """The flow itself is at fault: it runs in a circle, or names what does not exist."""


class FlowPlace(msgspec.Struct):
    """Where a call is in its flows."""

    flow: str
    node: str
    nodes: int
    """Entered so far, this one too."""
    begun: float
    """When this one was; monotonic seconds."""
    over: bool = False
    """The flow is left: the call is being hung up."""


class Interpreter:
    """Runs any number of calls at once; holds nothing of any of them."""

    def __init__(self, flows: Mapping[str, Flow], ports: Ports) -> None:
        self.flows = flows
        self.ports = ports

    async def run(self, flow: str, call: Call) -> None:
        """Run a call from the start of a flow to its hang-up. Never returns normally with the call up: at the end of a
        flow it hangs up, and that cancels this task. flow: "" for a call that can only go on where it was.

        Raises CancelledError at the call's end; KeyError for an unknown flow; what a port raised, after FlowFailed."""
        with call.frame("flow") as frame:
            run = _Run(self.ports, call, frame)
            was = frame.was(FlowPlace)
            if was is not None and was.over:
                await call.hangup()
            following = await run.resumed(was, self.flows) or flow
            while following:
                following = await run.flow(self.flows[following])


class _Run:
    """One call's way through its flows."""

    def __init__(self, ports: Ports, call: Call, frame: Frame) -> None:
        self.ports = ports
        self.call = call
        self.frame = frame
        self.nodes = 0
        self.still = 0
        self.node = ""
        self.name = ""
        self.over = False
        self.begun = 0.0
        """When the node was entered."""
        self.was: FlowPlace | None = None
        """Where a process before this one left it; until the node is entered again."""

    def place(self) -> FlowPlace:
        return FlowPlace(self.name, self.node, self.nodes, self.begun, self.over)

    async def resumed(self, was: FlowPlace | None, flows: Mapping[str, Flow]) -> str:
        """The flow to go on in, "" for none. What was changed away meanwhile is left, and its call begins anew; but who
        waits for an agent or talks to one does so to the end."""
        if was is None:
            return ""
        flow = flows.get(was.flow)
        self.nodes = was.nodes - 1
        if flow is not None and was.node in flow.nodes:
            self.was = was
            return was.flow
        why = "failed"
        try:
            went_on = await self.ports.queue.go_on(self.call)
            why = "removed"
        except asyncio.CancelledError:
            why = "hung_up"
            raise
        finally:
            emit, call, dwell = self.ports.emit, self.call.id, round(self.ports.clock.monotonic() - was.begun, 3)
            emit(NodeLeft(call=call, flow=was.flow, node=was.node, edge=why, to="", dwell=dwell))
            emit(FlowLeft(call=call, flow=was.flow, node=was.node, why=why))
        if went_on:
            await self.call.hangup()
        return was.flow if flow is not None else ""

    async def flow(self, flow: Flow) -> str:
        """Run one flow; returns the name of the flow to go on in, or "" at the end of the call."""
        emit, call = self.ports.emit, self.call.id
        self.name, self.over = flow.name, False
        self.frame.set(self.place)
        if self.was is None:
            emit(FlowEntered(call=call, flow=flow.name, version=flow.version))
            self.node = flow.start
        else:
            self.node = self.was.node
        why = "failed"
        try:
            left = await self._nodes(flow)
            why = "finished"
        except asyncio.CancelledError:
            why = "hung_up"
            raise
        except Exception as error:
            emit(FlowFailed(call=call, flow=flow.name, node=self.node, error=f"{type(error).__name__}: {error}"))
            raise
        finally:
            emit(FlowLeft(call=call, flow=flow.name, node=self.node, why=why))
            self.over = True
        if not left.flow:
            await (self.call.reject(left.status, left.hangup) if left.status else self.call.hangup(left.hangup))
        return left.flow

    async def _nodes(self, flow: Flow) -> Left:
        """From node to node until one leaves the flow."""
        while True:
            left = await self._one(flow)
            if left.flow or left.hangup:
                return left
            self.node = flow.targets[self.node][left.edge]

    async def _one(self, flow: Flow) -> Left:
        """Enter a node, run its verb, leave it."""
        self._count(flow)
        emit, call, node, clock = self.ports.emit, self.call.id, self.node, self.ports.clock
        if self.was is None:
            begun = clock.monotonic()
            emit(NodeEntered(call=call, flow=flow.name, node=node, verb=flow.verbs[node]))
        else:
            begun, self.was = self.was.begun, None
        self.begun = begun
        edge, to = "failed", ""
        try:
            left = await flow.nodes[node].run(Step(self.call, flow, node, self.ports))
            edge, to = left.edge, flow.targets[node].get(left.edge, "")
        except asyncio.CancelledError:
            edge = "hung_up"
            raise
        finally:
            dwell = clock.monotonic() - begun
            emit(NodeLeft(call=call, flow=flow.name, node=node, edge=edge, to=to, dwell=round(dwell, 3)))
        self.still = self.still + 1 if dwell < STILL_SECONDS else 0
        return left

    def _count(self, flow: Flow) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES or self.still > MAX_STILL_NODES:
            raise FlowError(f"flow '{flow.name}' has run through {self.nodes} nodes without coming to an end")
