"""What people may ask of an agent from outside, over the control socket: his state, and his caller."""

from collections.abc import Mapping
from typing import Any

from acd.parts import Choice
from acd.service import AcdService
from app.control_socket import Handler, Refused

PICK_UP = "pickup"
TRANSFERS = {"transfer": "the caller is being transferred", "consult": "the phone rings"}
CHOICES = {
    Choice.COMPLETE: "the caller is handed over",
    Choice.RETURN: "the caller is back",
    Choice.CONFERENCE: "all three talk",
}
"""What is said when it is begun."""


def agent_commands(acd: AcdService) -> Handler:
    """Fields of a request: agent, command; `to` of a transfer or consult, and at whom to pick up; `reason` and `via` of
    the others."""

    async def answer(request: Mapping[str, Any]) -> str:
        agent, command = str(request["agent"]), str(request["command"])
        if command in TRANSFERS:
            refusal = acd.transfer(agent, str(request.get("to", "")), consult=command == "consult")
            return _told(refusal, TRANSFERS[command])
        if command == PICK_UP:
            return _told(acd.pick_ups.ring(agent, str(request.get("to", ""))), "the phone rings")
        if command in set(Choice):
            choice = Choice(command)
            return _told(acd.decide(agent, choice), CHOICES[choice])
        try:
            result = acd.agent_command(agent, command, str(request.get("reason", "")), str(request["via"]))
        except ValueError as error:
            raise Refused(str(error)) from error
        return _told("" if result.ok else result.text, result.text)

    return answer


def _told(refusal: str, done: str) -> str:
    if refusal:
        raise Refused(refusal)
    return done
