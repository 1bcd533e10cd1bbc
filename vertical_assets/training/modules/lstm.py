"""A bidirectional LSTM over states of unequal length (SPEC M6)."""

import torch
from torch import jit, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BiLstm(nn.Module):
    """States -> states of both directions, rows x length x 2 hidden; padding never enters them."""

    def __init__(self, width_in: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.lstm = nn.LSTM(width_in, hidden, batch_first=True, bidirectional=True)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths = mask.sum(1)
        if jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
            return self._by_reversal(states, lengths)
        packed = pack_padded_sequence(
            states.float(), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return pad_packed_sequence(self.lstm(packed)[0], True, total_length=states.shape[1])[0]

    def _by_reversal(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The same without packing, for exported graphs: the second direction is a forward pass
        over each row turned round within its length.
        """
        places = torch.arange(states.shape[1], device=states.device)[None]
        turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)

        def turn(values: torch.Tensor) -> torch.Tensor:
            return values.gather(1, turned[..., None].expand(-1, -1, values.shape[2]))

        there = self._one_way(states, "")
        back = turn(self._one_way(turn(states), "_reverse"))
        inside = (places < lengths[:, None])[..., None]
        return torch.cat([there, back], 2) * inside

    def _one_way(self, states: torch.Tensor, direction: str) -> torch.Tensor:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weights = [getattr(self.lstm, f"{name}{direction}") for name in names]
        zeros = states.new_zeros(1, states.shape[0], self.hidden)
        # (input, states, weights, biases, layers, dropout, training, both directions, batch first)
        return torch.lstm(states, (zeros, zeros), weights, True, 1, 0.0, False, False, True)[0]
