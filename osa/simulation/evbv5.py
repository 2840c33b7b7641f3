"""Raw events in the format EVBv5 (``ProtoR1``), the one of 2020."""

from __future__ import annotations

from typing import Any

import numpy as np
from protozfits.anyarray import numpy_to_any_array
from protozfits.ProtoR1_LSTCam_pb2 import LstCamConfig, LstCamEvent
from protozfits.ProtoR1_pb2 import CameraConfiguration, CameraEvent

from osa.simulation.camera import N_MODULES, N_PIXELS, N_SAMPLES, Camera
from osa.simulation.events import RawEvent
from osa.simulation.hardware import cdts_bytes, counter_bytes, tib_bytes
from osa.simulation.plan import RunPlan

__all__ = ["tables_before_events", "to_message"]

# Protobuf classes are made at run time and have no types.
Message = Any

_IDAQ_VERSION = "37500"  # later than 37201, where the layout of the CDTS data changed


def tables_before_events(run: RunPlan, camera: Camera) -> list[tuple[str, Message]]:
    """Make the tables that stand before the events: name and message of each."""
    configuration = CameraConfiguration(
        telescope_id=1,
        cs_serial="simulated",
        configuration_id=run.run,
        date=int(run.start.timestamp()),
        num_pixels=N_PIXELS,
        num_samples=N_SAMPLES,
        expected_pixels_id=numpy_to_any_array(camera.pixel_ids.astype(np.uint16)),
        data_model_version="1.0",
        lstcam=LstCamConfig(
            idaq_version=_IDAQ_VERSION,
            cdhs_version="simulated",
            num_modules=N_MODULES,
            expected_modules_id=numpy_to_any_array(np.arange(N_MODULES, dtype=np.uint16)),
            run_id=run.run,
        ),
    )
    return [("CameraConfig", configuration)]


def to_message(run: RunPlan, event: RawEvent) -> Message:
    """Translate an event to ``ProtoR1.CameraEvent``."""
    seconds, ns = divmod(event.tai_ns, 1_000_000_000)
    return CameraEvent(
        configuration_id=run.run,
        event_id=event.event_id,
        tel_event_id=event.event_id,
        trigger_time_s=seconds,
        trigger_time_qns=4 * ns,
        trigger_type=int(event.trigger),
        waveform=numpy_to_any_array(event.waveform.ravel()),
        pixel_status=numpy_to_any_array(np.full(N_PIXELS, 0b1100, dtype=np.uint8)),
        lstcam=LstCamEvent(
            module_status=numpy_to_any_array(np.ones(N_MODULES, dtype=np.uint8)),
            extdevices_presence=0b011,
            tib_data=numpy_to_any_array(tib_bytes(event)),
            cdts_data=numpy_to_any_array(cdts_bytes(event)),
            counters=numpy_to_any_array(counter_bytes(event)),
            chips_flags=numpy_to_any_array(np.zeros(8 * N_MODULES, dtype=np.uint16)),
            first_capacitor_id=numpy_to_any_array(event.capacitors),
            drs_tag_status=numpy_to_any_array(np.zeros(N_MODULES, dtype=np.uint8)),
            drs_tag=numpy_to_any_array(np.zeros(8 * N_MODULES, dtype=np.uint16)),
            run_id=run.run,
        ),
    )
