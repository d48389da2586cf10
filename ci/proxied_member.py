"""A member of the grid that is reached through a proxy: it listens on ``--port`` and calls itself ``grid.port``, where the proxy is."""

from __future__ import annotations

from dataclasses import replace

from dolphin.grid.member import MemberPlan, member_yaml
from flows import grid_member


def behind_proxy(plan: MemberPlan) -> str:
    """The product's configuration with another port to listen on."""
    (proxy,) = plan.ports
    text = member_yaml(replace(plan, port=proxy))
    return text.replace(f"port: {{ port: {proxy},", f"port: {{ port: {plan.port},")


if __name__ == "__main__":
    grid_member.member_yaml = behind_proxy
    grid_member.main()
