"""The usual optimisers by name, and which parameters they decay."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from rnnjax.base import Params, PyTree


def _momentum(momentum: float = 0.9, nesterov: bool = False):
    return optax.trace(decay=momentum, nesterov=nesterov)


# The direction of each; clipping, decay and learning rate are common to all.
_DIRECTIONS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.identity,
    "momentum": _momentum,
    "rmsprop": optax.scale_by_rms,
    "adam": optax.scale_by_adam,
    "adamw": optax.scale_by_adam,
}


def optimizer(
    name: str,
    learning_rate: optax.ScalarOrSchedule,
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    clip_adaptive: float | None = None,
    weight_decay: float = 0.0,
    decay_mask: PyTree | Callable[[Params], PyTree] | None = None,
    **options: Any,
) -> optax.GradientTransformation:
    """An optimiser by name, with clipping first and decoupled weight decay last.

    ``g <- min(max(g, -clip_value), clip_value)``,
    ``g_u <- g_u min(1, clip_adaptive max(|w_u|, 1e-3) / |g_u|)`` for each unit ``u``,
    ``g <- g min(1, clip_norm / |g|)``, ``|g|`` the norm of the whole gradient,
    ``w <- w - learning_rate (direction(g) + weight_decay w)``

    where ``direction(g)`` is ``g`` for "sgd", ``m = momentum m + g`` for "momentum",
    ``g / sqrt(v)`` for "rmsprop" and ``m / (sqrt(v) + eps)`` for "adam" and "adamw",
    with ``m`` and ``v`` the running means of ``g`` and ``g^2`` (of Adam, corrected for
    their start at 0).

    Args:
      name: "sgd", "momentum", "rmsprop", "adam" or "adamw".
      learning_rate: a number, or an Optax schedule, such as
        ``optax.warmup_cosine_decay_schedule``.
      clip_norm: greatest global norm of the gradient; None does not clip.
      clip_value: greatest absolute value of each of its entries.
      clip_adaptive: greatest norm of the gradient of a unit, a column of a kernel or a
        whole vector, relative to that of its weights; 0.01 is usual.
      weight_decay: decoupled from the gradient, and multiplied by the learning rate.
        "adamw" is "adam" that takes it.
      decay_mask: which parameters decay: a tree of bools, or a function of the
        parameters that gives one. None is `weight_decay_mask`.
      **options: of the direction: ``momentum, nesterov`` of "momentum"; of "rmsprop"
        those of ``optax.scale_by_rms`` (``decay, eps``, ...); of "adam" and "adamw"
        those of ``optax.scale_by_adam`` (``b1, b2, eps``, ...).

    Returns:
      An Optax transformation.

    Raises:
      ValueError: an unknown name, ``clip_norm``, ``clip_value`` or ``clip_adaptive``
        not above 0, ``weight_decay`` below 0, or weight decay asked of "adam".
      TypeError: an option that the optimiser of this name does not have.

    Example:
      >>> import jax.numpy as jnp, rnnjax.training as training
      >>> optimizer = training.optimizer("sgd", 0.5, clip_norm=1.0)
      >>> params = {"kernel": jnp.zeros(2)}
      >>> grads = {"kernel": jnp.asarray([3.0, 4.0])}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> print(jnp.linalg.norm(updates["kernel"]).round(3))
      0.5

    References: Pascanu, Mikolov and Bengio, "On the Difficulty of Training Recurrent
    Neural Networks", ICML 2013 (clipping); Brock et al., "High-Performance Large-Scale
    Image Recognition Without Normalization", ICML 2021 (adaptive clipping); Tieleman
    and Hinton, "RMSProp", 2012; Kingma and Ba, "Adam", ICLR 2015; Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """
    if name not in _DIRECTIONS:
        raise ValueError(
            f"name: expected one of {', '.join(_DIRECTIONS)}, got {name!r}. Any other "
            f"Optax optimiser can be given to train_step as it is."
        )
    known = list(inspect.signature(_DIRECTIONS[name]).parameters)
    for option in options:
        if option not in known:
            raise TypeError(
                f"{option}: expected an option of {name!r} ({', '.join(known) or 'it'}"
                f"{'' if known else ' has none'}), got {option}={options[option]!r}."
            )
    clips = {
        "clip_value": (clip_value, optax.clip),
        "clip_adaptive": (clip_adaptive, optax.adaptive_grad_clip),
        "clip_norm": (clip_norm, optax.clip_by_global_norm),
    }
    for argument, (bound, _) in clips.items():
        if bound is not None and not bound > 0:
            raise ValueError(
                f"{argument}: expected a bound above 0, or None for no clipping, got "
                f"{bound!r}."
            )
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay: expected 0 or more, got {weight_decay!r}.")
    if name == "adam" and weight_decay:
        raise ValueError(
            f"weight_decay: expected 0 with 'adam', got {weight_decay!r}. Use 'adamw', "
            f"which is adam with decoupled weight decay."
        )
    parts = [clip(bound) for bound, clip in clips.values() if bound is not None]
    parts.append(_DIRECTIONS[name](**options))
    if weight_decay:
        mask = weight_decay_mask if decay_mask is None else decay_mask
        parts.append(optax.add_decayed_weights(weight_decay, mask))
    return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


def weight_decay_mask(params: Params) -> PyTree:
    """True for the parameters that weight decay should pull to zero.

    Those are the kernels. Spared are, by name, biases and scales (``bias``, ``scale``
    and names that end in ``_bias`` or ``_scale``), embedding tables (``table``: decay
    would wipe out the rows of rare tokens, which a gradient seldom reaches), learned
    first carries (all under ``initial``), and whatever is a vector or a number.

    Args:
      params: a tree of dicts; arrays or `jax.ShapeDtypeStruct`. Names hold for an
        ensemble with a leading axis as well.

    Returns:
      A tree of bools of the same structure.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax, rnnjax.training as training
      >>> params = rnnjax.simple(2).init(jax.random.key(0), jnp.ones(3))
      >>> training.weight_decay_mask(params)["input"]
      {'bias': False, 'kernel': True}
    """

    def decays(path, leaf):
        names = [
            str(getattr(entry, "key", getattr(entry, "name", ""))) for entry in path
        ]
        last = names[-1] if names else ""
        spared = last == "table" or "initial" in names or np.ndim(leaf) < 2
        return not (spared or last.split("_")[-1] in ("bias", "scale"))

    return jax.tree_util.tree_map_with_path(decays, params)
