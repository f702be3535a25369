"""Validation errors in ComfyUI's words and shape, one function per kind. Pure.

Types, messages, details and extra_info are those that clients parse; they were recorded from a
real server. No traceback of our own files is ever inside.
"""

from typing import Any

Problem = dict[str, Any]

LONG_LIST = 20
"""Combo lists longer than this are not sent back inside an error."""


def problem(kind: str, message: str, details: str = "", **extra: Any) -> Problem:
    """Return one error; every other function here is a special case of it."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def no_prompt() -> Problem:
    """Return the error for a body without a graph."""
    message = "No prompt provided"
    return problem("no_prompt", message, message)


def missing_class(node: str) -> Problem:
    """Return the error for a node without class_type."""
    message = "Cannot execute because a node is missing the class_type property."
    return problem("invalid_prompt", message, f"Node ID '#{node}'")


def unknown_class(node: str, name: object) -> Problem:
    """Return the error for a class_type that this host does not have."""
    message = f"Cannot execute because node {name} does not exist."
    return problem("invalid_prompt", message, f"Node ID '#{node}'")


def no_outputs() -> Problem:
    """Return the error for a graph in which no node is worth running for itself."""
    return problem("prompt_no_outputs", "Prompt has no outputs")


def outputs_failed(details: list[str]) -> Problem:
    """Return the error for a graph of which no output can run."""
    message = "Prompt outputs failed validation"
    return problem("prompt_outputs_failed_validation", message, "\n".join(details))


def missing_input(name: str) -> Problem:
    """Return the error for a required input that is not there."""
    message = "Required input is missing"
    return problem("required_input_missing", message, name, input_name=name)


def bad_link(name: str, config: Any, value: Any) -> Problem:
    """Return the error for a list that is no link."""
    return problem(
        "bad_linked_input",
        "Bad linked input, must be a length-2 list of [node_id, slot_index]",
        name,
        input_name=name,
        input_config=config,
        received_value=value,
    )


def type_mismatch(name: str, config: Any, received: str, value: Any) -> Problem:
    """Return the error for a link whose output has another type than the input."""
    return problem(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        f"{name}, received_type({received}) mismatch input_type({config[0]})",
        input_name=name,
        input_config=config,
        received_type=received,
        linked_node=value,
    )


def not_convertible(name: str, config: Any, value: Any, error: Exception) -> Problem:
    """Return the error for a value that cannot become an INT, FLOAT, ..."""
    return problem(
        "invalid_input_type",
        f"Failed to convert an input value to a {config[0]} value",
        f"{name}, {value}, {error}",
        input_name=name,
        input_config=config,
        received_value=value,
        exception_message=str(error),
    )


def too_small(name: str, config: Any, value: Any) -> Problem:
    """Return the error for a value below the declared minimum."""
    message = f"Value {value} smaller than min of {config[1]['min']}"
    extra = {"input_name": name, "input_config": config, "received_value": value}
    return problem("value_smaller_than_min", message, name, **extra)


def too_big(name: str, config: Any, value: Any) -> Problem:
    """Return the error for a value above the declared maximum."""
    message = f"Value {value} bigger than max of {config[1]['max']}"
    extra = {"input_name": name, "input_config": config, "received_value": value}
    return problem("value_bigger_than_max", message, name, **extra)


def not_in_list(name: str, config: Any, value: Any) -> Problem:
    """Return the error for a value that is not one of a combo's choices."""
    short = len(config[0]) <= LONG_LIST
    shown = config[0] if short else f"(list of length {len(config[0])})"
    return problem(
        "value_not_in_list",
        "Value not in list",
        f"{name}: '{value}' not in {shown}",
        input_name=name,
        input_config=config if short else None,
        received_value=value,
    )


def custom(name: str, complaint: str) -> Problem:
    """Return the error for a value that the node's own check does not like."""
    message = "Custom validation failed for node"
    return problem("custom_validation_failed", message, f"{name} - {complaint}", input_name=name)


def raised(kind: str, details: str) -> Problem:
    """Return the error for an output node whose check cannot even be made."""
    message = "Exception when validating node"
    extra = {"exception_type": kind, "traceback": []}
    return problem("exception_during_validation", message, details, **extra)


def raised_inside(name: str, config: Any, kind: str, details: str, value: Any) -> Problem:
    """Return the same for a node further up, as its reader's input ``name`` sees it."""
    return problem(
        "exception_during_inner_validation",
        "Exception when validating inner node",
        details,
        input_name=name,
        input_config=config,
        exception_message=details,
        exception_type=kind,
        traceback=[],
        linked_node=value,
    )
