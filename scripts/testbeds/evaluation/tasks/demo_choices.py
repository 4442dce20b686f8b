"""Data of the task demo_choices."""

import datasets

CHOICES = ["Paris", "Tokyo", "Sydney", "Canberra", "Rome", "Nairobi"]
ANSWERS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Australia": "Canberra",
    "Italy": "Rome",
    "Kenya": "Nairobi",
}


def choices(**_: object) -> datasets.DatasetDict:
    """Five questions about capitals, each with the same six choices."""
    rows = [
        {
            "question": f"What is the capital of {country}?",
            "choices": CHOICES,
            "answer": CHOICES.index(answer),
        }
        for country, answer in ANSWERS.items()
    ]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})
