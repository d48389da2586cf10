"""The jobs as Prefect 3 flows: thin wrappers, their schedules, and what serves them. Only modules named by ``catalogue`` import Prefect."""
