"""What the fault host claims to have: node classes, model lists, and ComfyUI's words about both.

``/object_info`` and the validation of a posted graph are made of one table. Lists follow
``models``; a Windows host spells sub-folders with backslashes and compares exactly.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.fault_host.graph import Graph, order, outputs


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One class: required inputs (a type, or the folder of a list), outputs."""

    inputs: dict[str, str]
    gives: tuple[str, ...] = ()
    is_output: bool = False


FOLDERS = ("unet", "text_encoders", "vae", "loras", "input")
SAMPLERS = {"sampler_name": ["euler", "dpmpp_2m"], "scheduler": ["simple", "normal"]}
CLASSES = {
    "UnetLoaderGGUF": NodeClass({"unet_name": "unet"}, ("MODEL",)),
    "LoraLoaderModelOnly": NodeClass(
        {"model": "MODEL", "lora_name": "loras", "strength_model": "FLOAT"}, ("MODEL",)
    ),
    "DualCLIPLoaderGGUF": NodeClass(
        {"clip_name1": "text_encoders", "clip_name2": "text_encoders", "type": "STRING"}, ("CLIP",)
    ),
    "CLIPTextEncode": NodeClass({"text": "STRING", "clip": "CLIP"}, ("CONDITIONING",)),
    "FluxGuidance": NodeClass({"conditioning": "CONDITIONING"}, ("CONDITIONING",)),
    "ConditioningZeroOut": NodeClass({"conditioning": "CONDITIONING"}, ("CONDITIONING",)),
    "EmptySD3LatentImage": NodeClass(
        {"width": "INT", "height": "INT", "batch_size": "INT"}, ("LATENT",)
    ),
    "KSampler": NodeClass(
        {
            "model": "MODEL",
            "seed": "INT",
            "steps": "INT",
            "cfg": "FLOAT",
            "sampler_name": "sampler_name",
            "scheduler": "scheduler",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "latent_image": "LATENT",
            "denoise": "FLOAT",
        },
        ("LATENT",),
    ),
    "VAELoader": NodeClass({"vae_name": "vae"}, ("VAE",)),
    "VAEDecode": NodeClass({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "VAEEncode": NodeClass({"pixels": "IMAGE", "vae": "VAE"}, ("LATENT",)),
    "LoadImage": NodeClass({"image": "input"}, ("IMAGE", "MASK")),
    "EmptyImage": NodeClass(
        {"width": "INT", "height": "INT", "batch_size": "INT", "color": "INT"}, ("IMAGE",)
    ),
    "PrimitiveStringMultiline": NodeClass({"value": "STRING"}, ("STRING",)),
    "LabSlow": NodeClass({"image": "IMAGE"}, ("IMAGE",)),
    "LabFail": NodeClass({"image": "IMAGE", "message": "STRING"}, ("IMAGE",)),
    "PreviewImage": NodeClass({"images": "IMAGE"}, is_output=True),
    "SaveImage": NodeClass({"images": "IMAGE", "filename_prefix": "STRING"}, is_output=True),
}


@dataclass
class Catalogue:
    """A host's classes and lists.

    Attributes:
        models: file names by folder, with slashes.
        absent: classes that this host lacks.
        windows: whether names are spelt with backslashes.
    """

    models: dict[str, list[str]] = field(
        default_factory=lambda: {
            "unet": ["x.gguf"],
            "text_encoders": ["c.safetensors", "t.safetensors"],
            "vae": ["v.safetensors"],
            "loras": [],
            "input": [],
        }
    )
    absent: list[str] = field(default_factory=list)
    windows: bool = False

    def listed(self, folder: str) -> list[str]:
        """Return a folder's list as this host spells it."""
        names = SAMPLERS.get(folder) or self.models.get(folder, [])
        return [name.replace("/", "\\") for name in names] if self.windows else list(names)

    def info(self, wanted: str | None = None) -> dict[str, Any]:
        """Return ``/object_info``, whole or of one class."""
        return {
            name: self._describe(name, described)
            for name, described in CLASSES.items()
            if name not in self.absent and wanted in (None, name)
        }

    def complaint(self, graph: Graph) -> tuple[dict[str, Any] | None, dict[str, Any], list[str]]:
        """Validate as ComfyUI does.

        Returns:
            the ``error`` of a 400 or ``None``, ``node_errors``, and the outputs that will run.
        """
        for node, entry in graph.items():
            if "class_type" not in entry:
                why = "Cannot execute because a node is missing the class_type property."
                return _error("invalid_prompt", why, f"Node ID '#{node}'"), {}, []
            name = entry["class_type"]
            if name not in CLASSES or name in self.absent:
                why = f"Cannot execute because node {name} does not exist."
                return _error("invalid_prompt", why, f"Node ID '#{node}'"), {}, []
        ends = outputs(graph)
        if not ends:
            return _error("prompt_no_outputs", "Prompt has no outputs", ""), {}, []
        return self._by_output(graph, ends)

    def _by_output(
        self, graph: Graph, ends: list[str]
    ) -> tuple[dict[str, Any] | None, dict[str, Any], list[str]]:
        findings: dict[str, Any] = {}
        good: list[str] = []
        for end in ends:
            bad = {n: found for n in order(graph, [end]) if (found := self._of_node(graph, n))}
            for node, errors in bad.items():
                entry = {"errors": errors, "dependent_outputs": [], "class_type": ""}
                known = findings.setdefault(node, entry)
                known["dependent_outputs"].append(end)
                known["class_type"] = graph[node]["class_type"]
            if not bad:
                good.append(end)
        if good:
            return None, findings, good
        why = "Prompt outputs failed validation"
        own = [f["errors"] for node, f in findings.items() if node in ends]
        details = "\n".join(error["details"] for errors in own for error in errors)
        return _error("prompt_outputs_failed_validation", why, details), findings, []

    def _of_node(self, graph: Graph, node: str) -> list[dict[str, Any]]:
        entry, found = graph[node], []
        for name, kind in CLASSES[entry["class_type"]].inputs.items():
            if name not in entry["inputs"]:
                found.append(
                    _problem("required_input_missing", "Required input is missing", name, name)
                )
            elif kind in (*FOLDERS, *SAMPLERS):
                value, names = entry["inputs"][name], self.listed(kind)
                if not isinstance(value, list) and value not in names:
                    details = f"{name}: '{value}' not in {names}"
                    found.append(_problem("value_not_in_list", "Value not in list", details, name))
        return found

    def _describe(self, name: str, described: NodeClass) -> dict[str, Any]:
        required = {
            key: [self.listed(kind)] if kind in (*FOLDERS, *SAMPLERS) else [kind, {}]
            for key, kind in described.inputs.items()
        }
        return {
            "input": {"required": required},
            "input_order": {"required": list(required)},
            "output": list(described.gives),
            "output_is_list": [False] * len(described.gives),
            "output_name": list(described.gives),
            "name": name,
            "display_name": name,
            "description": "",
            "python_module": "nodes",
            "category": "",
            "output_node": described.is_output,
        }


def _error(kind: str, message: str, details: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def _problem(kind: str, message: str, details: str, name: str) -> dict[str, Any]:
    return {**_error(kind, message, details), "extra_info": {"input_name": name}}
