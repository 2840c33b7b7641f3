"""Raw events in the current format, R1v1, without any preprocessing by the event builder."""

from __future__ import annotations

from typing import Any

import numpy as np
from protozfits.anyarray import numpy_to_any_array
from protozfits.R1v1_debug_pb2 import DebugCameraConfiguration, DebugEvent
from protozfits.R1v1_pb2 import CameraConfiguration, Event, TelescopeDataStream

from osa.simulation.camera import N_MODULES, N_PIXELS, N_SAMPLES, Camera
from osa.simulation.events import RawEvent, Trigger
from osa.simulation.hardware import cdts_bytes, counter_bytes, local_clock, tib_bytes
from osa.simulation.plan import RunPlan

__all__ = ["tables_before_events", "to_message"]

# Protobuf classes are made at run time and have no types.
Message = Any

# ctapipe's EventType: FLATFIELD, SKY_PEDESTAL, SUBARRAY.
_EVENT_TYPES = {Trigger.FLATFIELD: 0, Trigger.PEDESTAL: 2, Trigger.PHYSICS: 32}


def tables_before_events(run: RunPlan, camera: Camera) -> list[tuple[str, Message]]:
    """Make the tables that stand before the events: name and message of each."""
    # No offset: lstchain's DRS4 step expects raw baselines where nothing was subtracted.
    stream = TelescopeDataStream(
        tel_id=1, sb_id=run.run, obs_id=run.run, waveform_scale=1.0, waveform_offset=0.0
    )
    nothing = numpy_to_any_array(np.zeros(16, dtype=np.uint16))
    configuration = CameraConfiguration(
        tel_id=1,
        local_run_id=run.run,
        config_time_s=run.start.timestamp(),
        camera_config_id=1,
        pixel_id_map=numpy_to_any_array(camera.pixel_ids.astype(np.uint16)),
        module_id_map=numpy_to_any_array(np.arange(N_MODULES, dtype=np.uint16)),
        num_modules=N_MODULES,
        num_pixels=N_PIXELS,
        num_channels=2,
        data_model_version="1.0",
        num_samples_nominal=N_SAMPLES,
        debug=DebugCameraConfiguration(
            cs_serial="simulated",
            evb_version="simulated",
            cdhs_version="simulated",
            tdp_type=numpy_to_any_array(np.zeros(15, dtype=np.uint16)),
            tdp_action=nothing,
            # lstchain reads the actions from this field, as the event builder swaps the two.
            ttype_pattern=nothing,
        ),
    )
    return [("DataStream", stream), ("CameraConfiguration", configuration)]


def to_message(run: RunPlan, event: RawEvent) -> Message:
    """Translate an event to ``R1v1.Event``."""
    seconds, ns = divmod(event.tai_ns, 1_000_000_000)
    return Event(
        event_id=event.event_id,
        tel_id=1,
        local_run_id=run.run,
        event_type=_EVENT_TYPES[event.trigger],
        event_time_s=seconds,
        event_time_qns=4 * ns,
        num_channels=2,
        num_samples=N_SAMPLES,
        num_pixels=N_PIXELS,
        num_modules=N_MODULES,
        waveform=numpy_to_any_array(event.waveform.ravel()),
        pixel_status=numpy_to_any_array(np.full(N_PIXELS, 0b1100, dtype=np.uint8)),
        first_cell_id=numpy_to_any_array(event.capacitors),
        module_hires_local_clock_counter=numpy_to_any_array(local_clock(event)),
        debug=DebugEvent(
            module_status=numpy_to_any_array(np.ones(N_MODULES, dtype=np.uint8)),
            extdevices_presence=0b011,
            tib_data=numpy_to_any_array(tib_bytes(event)),
            cdts_data=numpy_to_any_array(cdts_bytes(event)),
            counters=numpy_to_any_array(counter_bytes(event)),
        ),
    )
